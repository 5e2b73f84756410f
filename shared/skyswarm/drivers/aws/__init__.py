"""AWS: records in DynamoDB, objects in S3, tasks in SQS, keys in Secrets Manager.

Law: the only place that imports boto3 or botocore. Whatever AWS answers leaves here as one of the ports' errors.
"""
