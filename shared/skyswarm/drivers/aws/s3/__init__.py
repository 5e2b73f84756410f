"""S3 and what speaks like it as a storage of ports/storage.py.

Law: bytes go over `wire.py`, signed by `sigv4.py`, without the SDK; only `control.py` asks through it. Doors that
presign and stat therefore never load the SDK (`shared/decisions/aws-s3.md`).
"""
