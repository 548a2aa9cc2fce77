"""The laboratory of the end-to-end tests: real servers, a real mitmdump and real S3 clients, all on loopback.

- ``process``       a child process with a log file: start, wait until it answers, stop, kill -9
- ``certificates``  a small authority, and a certificate of it for mitmdump
- ``rgw``, ``moto`` the servers that play the origin bucket: Ceph RGW verifies signatures, moto is quick
- ``standin``       the stand-in for the Bot API and its control port
- ``tgstore``       settings file and mitmdump with the addon
- ``clients``       drivers of boto3, the AWS CLI, @aws-sdk/client-s3, curl and PicGo

Nothing here imports from ``addon``: the product is seen from outside only.
"""
