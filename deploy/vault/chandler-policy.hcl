# What the broker may do in Vault, and nothing else: it keeps its credentials
# below "chandler" in the KV version 2 engine at "secret". With another mount
# (VAULT_KV_MOUNT) or prefix (VAULT_KV_PREFIX) change the two paths.
#
#   vault policy write chandler chandler-policy.hcl

# Store and read. "update" is for a value that is replaced.
path "secret/data/chandler/*" {
  capabilities = ["create", "read", "update"]
}

# Remove every version of a credential: a delete below data/ would leave it
# recoverable.
path "secret/metadata/chandler/*" {
  capabilities = ["delete"]
}

# Where plans or platforms have the delivery "vault-ref": what applications read
# themselves. Remove these two where none has.
path "secret/data/chandler-applications/*" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/chandler-applications/*" {
  capabilities = ["delete"]
}

# Look after its own token, and tell an operator which permission is missing.
# Vault's policy "default" holds these too; a token need not have it.
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
