# Grants the broker everything that it needs in Vault, and nothing more. It stores
# credentials below "chandler" in the KV version 2 engine at "secret". If you use
# another mount (VAULT_KV_MOUNT) or prefix (VAULT_KV_PREFIX), change the paths.
#
#   vault policy write chandler chandler-policy.hcl

# Store and read credentials. "update" replaces a value.
path "secret/data/chandler/*" {
  capabilities = ["create", "read", "update"]
}

# Delete all versions of a credential. A delete below data/ could be undone.
path "secret/metadata/chandler/*" {
  capabilities = ["delete"]
}

# For plans or platforms with the delivery "vault-ref": the copies that applications
# read. Otherwise remove these two.
path "secret/data/chandler-applications/*" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/chandler-applications/*" {
  capabilities = ["delete"]
}

# Renew and revoke the broker's own token, and report missing permissions. Vault's
# policy "default" grants these too, but a token may lack that policy.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}
