select patient_id from admissions
