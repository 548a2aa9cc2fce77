BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE copy_jobs (
	job_id BIGINT NOT NULL,
	bucket TEXT NOT NULL,
	"key" BLOB NOT NULL,
	state TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	not_before_s FLOAT NOT NULL,
	anonymous_read BOOLEAN NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (job_id)
);
INSERT INTO "copy_jobs" VALUES(8,'images',X'6661696C6564','failed',1,7.0,0,'the origin''s answer ended early');
INSERT INTO "copy_jobs" VALUES(9,'images',X'77616974696E67','waiting',0,8.0,0,'');
CREATE TABLE counters (
	name TEXT NOT NULL,
	value BIGINT NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "counters" VALUES('numbers',10);
CREATE TABLE documents (
	document_id TEXT NOT NULL,
	chat_id BIGINT NOT NULL,
	message_id BIGINT NOT NULL,
	bot_id BIGINT NOT NULL,
	file_id TEXT NOT NULL,
	file_unique_id TEXT NOT NULL,
	size BIGINT NOT NULL,
	created_at_s FLOAT NOT NULL,
	garbage_since_s FLOAT,
	PRIMARY KEY (document_id)
)
 WITHOUT ROWID

;
INSERT INTO "documents" VALUES('d1',-1001234567890,25649,123456,'file-d1','unique-d1',1000,1700000000.5,NULL);
INSERT INTO "documents" VALUES('d2',-1001234567890,25650,123456,'file-d2','unique-d2',1000,1700000000.5,NULL);
INSERT INTO "documents" VALUES('d3',-1001234567890,25651,123456,'file-d3','unique-d3',1000,1700000000.5,1700000000.5);
INSERT INTO "documents" VALUES('d4',-1001234567890,25652,123456,'file-d4','unique-d4',1000,1700000000.5,NULL);
INSERT INTO "documents" VALUES('d5',-1001234567890,25653,123456,'file-d5','unique-d5',1000,1700000000.5,NULL);
INSERT INTO "documents" VALUES('d6',-1001234567890,25654,123456,'file-d6','unique-d6',1000,1700000000.5,NULL);
INSERT INTO "documents" VALUES('d7',-1001234567890,25655,123456,'file-d7','unique-d7',1000,10.0,10.0);
CREATE TABLE extents (
	bucket TEXT NOT NULL,
	"key" BLOB NOT NULL,
	position INTEGER NOT NULL,
	document_id TEXT NOT NULL,
	"offset" BIGINT NOT NULL,
	length BIGINT NOT NULL,
	block_sha256s BLOB NOT NULL,
	PRIMARY KEY (bucket, "key", position),
	FOREIGN KEY(bucket, "key") REFERENCES keys (bucket, "key"),
	FOREIGN KEY(document_id) REFERENCES documents (document_id)
)
 WITHOUT ROWID

;
INSERT INTO "extents" VALUES('images',X'636F7079',0,'d6',5,10,X'64362E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
INSERT INTO "extents" VALUES('images',X'666F726D6572',0,'d4',5,10,X'64342E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
INSERT INTO "extents" VALUES('images',X'7772697474656E',0,'d1',5,10,X'64312E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
INSERT INTO "extents" VALUES('images',X'7772697474656E',1,'d2',5,10,X'64322E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
INSERT INTO "extents" VALUES('images',X'7772697474656E',2,'d1',5,10,X'64312E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
INSERT INTO "extents" VALUES('images',X'C3A92FF09F988000',0,'d5',5,10,X'64352E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E');
CREATE TABLE keys (
	bucket TEXT NOT NULL,
	"key" BLOB NOT NULL,
	kind TEXT NOT NULL,
	generation BIGINT NOT NULL,
	modified_at_s BIGINT NOT NULL,
	size BIGINT NOT NULL,
	etag TEXT NOT NULL,
	provenance TEXT NOT NULL,
	anonymous_read BOOLEAN NOT NULL,
	headers TEXT NOT NULL,
	checksums TEXT NOT NULL,
	PRIMARY KEY (bucket, "key")
)
 WITHOUT ROWID

;
INSERT INTO "keys" VALUES('images',X'636F7079','object',7,1700000000,10,'copied','copied_from_origin',1,'{"content-type":"image/jpeg","x-amz-meta-b":"2","x-amz-meta-a":"1"}','{"crc32":"6Le+Qw==","type":"FULL_OBJECT"}');
INSERT INTO "keys" VALUES('images',X'64656C65746564','tombstone',5,1700000100,0,'','written_here',0,'{}','{}');
INSERT INTO "keys" VALUES('images',X'666F726D6572','object',3,1700000000,10,'0cc175b9c0f1b6a831c399e269772661','written_here',1,'{"content-type":"image/jpeg","x-amz-meta-b":"2","x-amz-meta-a":"1"}','{"crc32":"6Le+Qw==","type":"FULL_OBJECT"}');
INSERT INTO "keys" VALUES('images',X'7772697474656E','object',1,1700000000,30,'0cc175b9c0f1b6a831c399e269772661','written_here',0,'{"content-type":"image/jpeg","x-amz-meta-b":"2","x-amz-meta-a":"1"}','{"crc32":"6Le+Qw==","type":"FULL_OBJECT"}');
INSERT INTO "keys" VALUES('images',X'C3A92FF09F988000','object',4,1700000000,10,'0cc175b9c0f1b6a831c399e269772661','written_here',0,'{"content-type":"image/jpeg","x-amz-meta-b":"2","x-amz-meta-a":"1"}','{"crc32":"6Le+Qw==","type":"FULL_OBJECT"}');
CREATE TABLE origin_writes (
	write_id BIGINT NOT NULL,
	bucket TEXT NOT NULL,
	"key" BLOB NOT NULL,
	began_at_s FLOAT NOT NULL,
	overruled BOOLEAN NOT NULL,
	PRIMARY KEY (write_id)
);
INSERT INTO "origin_writes" VALUES(10,'images',X'706173742D7573',9.0,0);
CREATE INDEX documents_by_garbage_since_s ON documents (garbage_since_s, created_at_s);
CREATE INDEX extents_by_document_id ON extents (document_id);
CREATE UNIQUE INDEX copy_jobs_by_key ON copy_jobs (bucket, "key");
CREATE INDEX copy_jobs_by_time ON copy_jobs (state, not_before_s, job_id);
CREATE INDEX origin_writes_by_key ON origin_writes (bucket, "key");
COMMIT;
