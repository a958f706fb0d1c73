"""Measures an enclave image (EIF) by its published description, without anything of Glovebox.

Prints a JSON object: `crc` (whether the checksum holds) and the registers. PCR n is SHA-384(48 zeros, SHA-384(contents)).
"""

import hashlib
import json
import struct
import sys
import zlib

image = open(sys.argv[1], "rb").read()
header = struct.Struct(">4sHHQQHH32Q32QII")
fields = header.unpack_from(image)
count, offsets, sizes, checksum = fields[6], fields[7:39], fields[39:71], fields[72]

order = []
for offset, size in zip(offsets[:count], sizes[:count]):
    kind, _, told = struct.unpack_from(">HHQ", image, offset)
    assert told == size
    contents = image[offset + 12 : offset + 12 + size]
    order.append((kind, contents))


def register(contents):
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(contents)).digest()).hexdigest()


disks = [contents for kind, contents in order if kind == 3]
seen = 0
boot = []
for kind, contents in order:
    if kind in (1, 2) or (kind == 3 and seen == 0):
        boot.append(contents)
    seen += kind == 3
print(
    json.dumps(
        {
            "crc": zlib.crc32(image[: header.size - 4] + image[header.size :]) == checksum,
            "pcr0": register([contents for kind, contents in order if kind in (1, 2, 3)]),
            "pcr1": register(boot),
            "pcr2": register(disks[1:]),
        }
    )
)
