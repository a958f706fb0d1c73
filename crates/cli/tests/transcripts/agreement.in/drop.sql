drop table admissions
