-- Patients, starting CD4 count, events and days for each treatment.
SELECT
  hospital.arm,
  COUNT(DISTINCT hospital.patient_id) AS patients,
  AVG(hospital.cd4) AS mean_cd4,
  SUM(registry.event) AS events,
  AVG(registry.days) AS mean_days
FROM hospital
JOIN registry ON hospital.patient_id = registry.patient_id
GROUP BY hospital.arm
