-- +goose Up

-- How far rounds have got that go through all instances or bindings of a server in
-- batches: any replica takes the next batch, whoever took the last one.
create table rounds (
    name     text primary key, -- such as keep/postgres
    after    text not null default '', -- the last ID of the batch before; empty between two rounds
    began_at timestamptz not null default '-infinity'
);

-- +goose Down
drop table rounds;
