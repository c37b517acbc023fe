# Lets applications read their credentials in Vault, for plans or platforms with the
# delivery "vault-ref". One policy serves all applications: Vault inserts the name
# that the authentication method verified, so each can read only below its own name.
#
# Replace CF_ACCESSOR and KUBERNETES_ACCESSOR with the accessors of the two methods
# ("vault auth list"), and remove the path of a method that you do not have.
#
#   sed "s/KUBERNETES_ACCESSOR/$(vault auth list -format=json | jq -r '."kubernetes/".accessor')/" \
#     applications-policy.hcl | vault policy write chandler-applications -

# An application on Cloud Foundry: the alias of its instance identity is its GUID.
path "secret/data/chandler-applications/cloudfoundry/{{identity.entity.aliases.CF_ACCESSOR.name}}/*" {
  capabilities = ["read"]
}

# A pod on Kubernetes reads everything that is bound in its service account's
# namespace.
path "secret/data/chandler-applications/kubernetes/{{identity.entity.aliases.KUBERNETES_ACCESSOR.metadata.service_account_namespace}}/*" {
  capabilities = ["read"]
}
