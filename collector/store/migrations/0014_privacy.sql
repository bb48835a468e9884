-- Requests of people about what is held about them.
--
-- Whom a request is about stands here only until it has been carried out. What it has erased is known by `tombstones`
-- alone (0001_events.sql): a statement that deletes names the request and nobody, because its text stays on disk.

CREATE TABLE IF NOT EXISTS @name(data_requests) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    request_id UUID COMMENT 'Id of the request',
    kind LowCardinality(String) COMMENT 'erase, anonymise, export, correct, restrict, unrestrict or object',
    state LowCardinality(String) COMMENT 'waiting (for a second pair of eyes), open, running, done, refused or failed',
    requested_at DateTime64(3, 'UTC') COMMENT 'When it was asked for',
    due_at DateTime64(3, 'UTC') COMMENT 'Until when it must be answered',
    people UInt32 COMMENT 'How many people it is about',
    subjects String COMMENT 'Whom it is about, as JSON; emptied when it has been carried out',
    actor String COMMENT 'Who wrote it down: operator:NAME, key:ID, or person: whom it is about',
    approved_by String COMMENT 'Who approved it, where that was wanted',
    via LowCardinality(String) COMMENT 'How: command, api or page',
    step LowCardinality(String) COMMENT 'Which step it is at, or which was the last',
    reason String COMMENT 'Why it was refused or failed, in our words; empty: neither',
    changed_at DateTime64(3, 'UTC') COMMENT 'When its state last changed',
    certificate String COMMENT 'What was done, where, how many and how it was verified, as signed JSON; empty: not done',
    version UInt64 COMMENT 'The highest wins'
)
ENGINE = @engine_everywhere(data_requests, ReplacingMergeTree, version)
ORDER BY (space_id, request_id)
SETTINGS @no_deduplication
COMMENT 'What people have asked for, and what became of it; for the collector alone';
