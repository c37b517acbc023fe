package vault

import "cmp"

// manifests makes the Kubernetes objects that fetch one binding's credentials.
type manifests struct {
	DeliveryConfig
	login       Login
	mount, path string // of the secret in Vault
	name, owner string // of the objects; owner is their namespace
}

// shared is the name of the objects that all bindings of a namespace use.
const shared = "chandler"

func (m manifests) object(version, kind, name string, spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name, "namespace": m.owner}, "spec": spec,
	}
}

// inNamespace adds Vault's namespace, if any, under a key.
func (m manifests) inNamespace(spec map[string]any, key string) map[string]any {
	if m.Namespace != "" {
		spec[key] = m.Namespace
	}
	return spec
}

const externalSecrets = "external-secrets.io/v1"

// externalSecret is for the External Secrets Operator.
func (m manifests) externalSecret() map[string]any {
	return m.object(externalSecrets, "ExternalSecret", m.name, map[string]any{
		"refreshInterval": "1m",
		"secretStoreRef":  map[string]any{"kind": "SecretStore", "name": shared},
		"target":          map[string]any{"name": m.name},
		"dataFrom":        []any{map[string]any{"extract": map[string]any{"key": m.path}}},
	})
}

func (m manifests) secretStore() map[string]any {
	return m.object(externalSecrets, "SecretStore", shared, map[string]any{
		"provider": map[string]any{"vault": m.inNamespace(map[string]any{
			"server": m.Address, "path": m.mount, "version": "v2",
			"auth": map[string]any{"kubernetes": map[string]any{
				"mountPath": m.login.Mount, "role": m.login.Role, "serviceAccountRef": map[string]any{"name": "default"},
			}},
		}, "namespace")},
	})
}

const vaultSecrets = "secrets.hashicorp.com/v1beta1"

// staticSecret is for the Vault Secrets Operator. The Secret does not include _raw, Vault's
// whole answer, because applications read each key of a Secret as a credential.
func (m manifests) staticSecret() map[string]any {
	return m.object(vaultSecrets, "VaultStaticSecret", m.name, m.inNamespace(map[string]any{
		"vaultAuthRef": cmp.Or(m.login.VaultAuth, shared), "type": "kv-v2", "mount": m.mount, "path": m.path, "refreshAfter": "1m",
		"destination": map[string]any{"name": m.name, "create": true, "transformation": map[string]any{"excludeRaw": true}},
	}, "namespace"))
}

func (m manifests) vaultAuth() map[string]any {
	return m.object(vaultSecrets, "VaultAuth", shared, m.inNamespace(map[string]any{
		"vaultConnectionRef": shared, "method": "kubernetes", "mount": m.login.Mount,
		"kubernetes": map[string]any{"role": m.login.Role, "serviceAccount": "default"},
	}, "namespace"))
}

func (m manifests) vaultConnection() map[string]any {
	return m.object(vaultSecrets, "VaultConnection", shared, map[string]any{"address": m.Address})
}

// agent returns the annotations that the Vault Agent Injector reads on a pod.
func (m manifests) agent() map[string]any {
	const agent = "vault.hashicorp.com/"
	secret := m.mount + "/data/" + m.path
	return m.inNamespace(map[string]any{
		agent + "agent-inject": "true",
		agent + "auth-path":    "auth/" + m.login.Mount,
		agent + "role":         m.login.Role,
		agent + "agent-inject-secret-credentials.json":   secret,
		agent + "agent-inject-template-credentials.json": "{{ with secret \"" + secret + "\" }}{{ .Data.data | toJSON }}{{ end }}",
	}, agent+"namespace")
}
