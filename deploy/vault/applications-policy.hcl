# What applications may read in Vault where plans or platforms have the delivery
# "vault-ref": each what is below its own name, by one policy for all. Vault puts
# the name in that the authentication method vouches for.
#
# CF_ACCESSOR and KUBERNETES_ACCESSOR stand for the accessors of the two methods
# ("vault auth list"); remove the path of one that you do not have.
#
#   sed "s/KUBERNETES_ACCESSOR/$(vault auth list -format=json | jq -r '."kubernetes/".accessor')/" \
#     applications-policy.hcl | vault policy write chandler-applications -

# An application on Cloud Foundry: the alias of its instance identity is its GUID.
path "secret/data/chandler-applications/cloudfoundry/{{identity.entity.aliases.CF_ACCESSOR.name}}/*" {
  capabilities = ["read"]
}

# A pod on Kubernetes: whatever is bound in its service account's namespace.
path "secret/data/chandler-applications/kubernetes/{{identity.entity.aliases.KUBERNETES_ACCESSOR.metadata.service_account_namespace}}/*" {
  capabilities = ["read"]
}
