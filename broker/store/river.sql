-- What the queries read of River's own table, for sqlc only; River's migrations
-- make the real one.
create table river_job (
    id           bigint primary key,
    state        text not null,
    attempted_at timestamptz,
    finalized_at timestamptz
);
