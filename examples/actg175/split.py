"""Splits the ACTG 175 table of the package `lifelines` between a hospital and a registry, as PROVENANCE.md says.

Usage: python split.py   (needs `pip install lifelines==0.30.3`; the results are committed)
"""

import csv
import os

import lifelines

ARMS = {"0": "zidovudine", "1": "zidovudine+didanosine", "2": "zidovudine+zalcitabine", "3": "didanosine"}
HOSPITAL = {"age": "age", "gender": "gender", "karnof": "karnofsky", "symptom": "symptomatic", "cd40": "cd4", "cd80": "cd8"}

source = os.path.join(os.path.dirname(lifelines.__file__), "datasets", "ACTG175.csv")
with open(source, newline="") as file:
    rows = list(csv.DictReader(file))
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "hospital.csv"), "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["patient_id", "arm", *HOSPITAL.values()])
    for row in rows:
        out.writerow([row["pidnum"], ARMS[row["arms"]], *(row[name] for name in HOSPITAL)])
with open(os.path.join(here, "registry.csv"), "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["patient_id", "event", "days", "cd4_week20"])
    for row in sorted(rows, key=lambda row: int(row["pidnum"])):
        out.writerow([row["pidnum"], row["cens"], row["days"], row["cd420"]])
print(len(rows), "patients")
