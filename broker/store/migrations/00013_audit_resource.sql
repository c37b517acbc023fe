-- +goose Up

-- What an operator removed that belongs to no instance. The index is for the end of
-- the record's retention, and for reading it by time.
alter table audit add column resource text not null default '';
create index audit_by_at on audit (at);

-- +goose Down
drop index audit_by_at;
alter table audit drop column resource;
