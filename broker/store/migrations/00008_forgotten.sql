-- +goose Up

-- Bindings that are gone and whose secrets were deleted. A write that a replica had
-- sent when it was killed may get to the credential store after that, so the secrets
-- are deleted once more later; the row goes then.
create table forgotten (
    instance_id   text not null, -- as it was then: a kept instance has another one
    binding_id    text not null,
    app_id        text not null,
    bind_resource json not null,
    context       json not null,
    delivery      text not null,
    at            timestamptz not null,
    primary key (instance_id, binding_id)
);
create index forgotten_by_at on forgotten (at, instance_id, binding_id);

-- +goose Down
drop table forgotten;
