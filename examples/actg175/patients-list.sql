-- A row for each patient: the rules refuse it.
SELECT hospital.patient_id, hospital.arm, registry.event, registry.days
FROM hospital
JOIN registry ON hospital.patient_id = registry.patient_id
