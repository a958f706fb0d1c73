select ward, count(*) as patients from admissions group by ward
