-- Webhooks: what is to be delivered, and what could not be.
--
-- A delivery is a row by webhook and change. It is made as version 1, and each try or decision counts the version up: to
-- make it again changes nothing, and a process that is killed finds what it owed. Its id follows from webhook and
-- change, so that the receiver knows one that comes twice. What is sent is made of the row when it is sent.

CREATE TABLE IF NOT EXISTS @name(webhook_deliveries) @on_cluster
(
    webhook LowCardinality(String) COMMENT 'Name of the webhook',
    created_at DateTime64(3, 'UTC') COMMENT 'When the change was written',
    delivery_id UUID COMMENT 'Sent as webhook-id: follows from the webhook and the change',
    space_id LowCardinality(String) COMMENT 'Identity space',
    person_id UUID COMMENT 'Person that it is about',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    change LowCardinality(String) COMMENT 'enter or leave',
    change_reason LowCardinality(String) COMMENT 'Why they did, see audience_changes',
    change_id UUID COMMENT 'The change, see audience_changes',
    sequence UInt64 COMMENT 'Version of the change: which one it is of this person in this audience, from 1',
    state LowCardinality(String) COMMENT 'pending, delivered, dead (given up) or dropped (not to be told any more)',
    attempts UInt16 COMMENT 'How often it was tried',
    reason String COMMENT 'Why the last try failed, or why it was dropped; empty: neither',
    next_at DateTime64(3, 'UTC') COMMENT 'When it is tried next, while it is pending',
    settled_at DateTime64(3, 'UTC') COMMENT 'When its state last changed',
    version UInt64 COMMENT 'The highest wins; counts from 1'
)
ENGINE = @engine_everywhere(webhook_deliveries, ReplacingMergeTree, version)
PARTITION BY toYYYYMM(created_at)
ORDER BY (webhook, created_at, delivery_id)
TTL toDateTime(created_at) + toIntervalDay(30)
SETTINGS @no_deduplication, index_granularity = 512
COMMENT 'What webhooks are told, and how that went; kept for 30 days';

CREATE TABLE IF NOT EXISTS @name(webhook_progress) @on_cluster
(
    webhook LowCardinality(String) COMMENT 'Name of the webhook',
    subject LowCardinality(String) COMMENT 'followed: how far the role activate is; replay: what an operator wants to be sent anew',
    since DateTime64(3, 'UTC') COMMENT 'Changes from here on are told: when the webhook was first seen; of a replay: its oldest',
    at DateTime64(3, 'UTC') COMMENT 'Changes up to here have their deliveries; of a replay: when it was asked for',
    gone_at DateTime64(3, 'UTC') COMMENT 'When the receiver said that it is gone (410); 1970: it did not',
    address String COMMENT 'Digest of the address: with another one nobody is gone',
    version UInt64 COMMENT 'The highest wins: milliseconds since 1970',
    is_deleted UInt8 COMMENT '1: no longer configured'
)
ENGINE = @engine_everywhere(webhook_progress, ReplacingMergeTree, version, is_deleted)
ORDER BY (webhook, subject)
SETTINGS @no_deduplication
COMMENT 'How far each webhook has followed the changes';
