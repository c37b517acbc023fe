package vault_test

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/credhub/vault"
)

// applications lets applications log in: pods by Kubernetes' own method, and applications
// of Cloud Foundry by AppRole. Cloud Foundry's own method would ask a Cloud Foundry about
// each; both give an application its GUID as the alias.
type applications struct {
	server
	cluster *cluster
	config  vault.DeliveryConfig
}

func startApplications(t *testing.T) applications {
	t.Helper()
	a := applications{server: start(t), cluster: startCluster(t)}
	a.enableAuth(t, "kubernetes")
	a.enableAuth(t, "approle")
	a.write(t, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": a.cluster.URL, "disable_local_ca_jwt": true,
		"kubernetes_ca_cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cluster.Certificate().Raw})),
	})
	a.write(t, "auth/kubernetes/role/applications", map[string]any{
		"bound_service_account_names": "*", "bound_service_account_namespaces": "*",
		"token_policies": "chandler-applications", "token_no_default_policy": true,
		"alias_name_source": "serviceaccount_name",
	})
	methods, err := a.admin.Sys().ListAuthWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	policy, err := os.ReadFile(filepath.Join("..", "..", "deploy", "vault", "applications-policy.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("{{identity.entity.aliases.CF_ACCESSOR", "{{identity.entity.aliases."+methods["approle/"].Accessor,
		"{{identity.entity.aliases.KUBERNETES_ACCESSOR", "{{identity.entity.aliases."+methods["kubernetes/"].Accessor).Replace(string(policy))
	if err := a.admin.Sys().PutPolicyWithContext(t.Context(), "chandler-applications", text); err != nil {
		t.Fatal(err)
	}
	a.config = vault.DeliveryConfig{
		Prefix:       "chandler-applications",
		CloudFoundry: &vault.Login{Mount: "cf", Role: "applications"}, Kubernetes: &vault.Login{Mount: "kubernetes", Role: "applications"},
	}
	return a
}

// token returns the token that Vault gives to an application.
func (a applications) token(t *testing.T, r credhub.Reader) string {
	t.Helper()
	if r.Platform == "kubernetes" {
		return a.write(t, "auth/kubernetes/login", map[string]any{"role": "applications", "jwt": a.cluster.token(t, r.Namespace, "default")}).Auth.ClientToken
	}
	role := "auth/approle/role/" + r.AppID
	a.write(t, role, map[string]any{"token_policies": "chandler-applications", "token_no_default_policy": true, "bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32"})
	a.write(t, role+"/role-id", map[string]any{"role_id": r.AppID}) // which is the alias, too
	return a.write(t, "auth/approle/login", map[string]any{"role_id": r.AppID}).Auth.ClientToken
}

// read reads like an application with its reference.
func (a applications) read(t *testing.T, reference map[string]any, as credhub.Reader) (json.RawMessage, bool) {
	t.Helper()
	at := reference[credhub.VaultRef].(map[string]any)
	client, err := api.NewClient(&api.Config{Address: at["address"].(string)})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(a.token(t, as))
	secret, err := client.KVv2(at["mount"].(string)).Get(t.Context(), at["path"].(string))
	if err != nil {
		return nil, false
	}
	value, err := json.Marshal(secret.Data)
	if err != nil {
		t.Fatal(err)
	}
	return value, true
}

func (a applications) delivery(t *testing.T) credhub.Delivery {
	t.Helper()
	d, err := vault.NewDelivery(open(t, a.withToken(t)), a.config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// On both kinds of platform an application reads its own credentials, by the one shipped
// policy.
func TestDelivery(t *testing.T) {
	t.Parallel()
	a := startApplications(t)
	for kind, reader := range map[string]func() credhub.Reader{
		"cloudfoundry": func() credhub.Reader {
			return credhub.Reader{InstanceID: rand.Text(), BindingID: rand.Text(), AppID: strings.ToLower(rand.Text()), Platform: "cloudfoundry"}
		},
		"kubernetes": func() credhub.Reader {
			return credhub.Reader{InstanceID: rand.Text(), BindingID: rand.Text(), Platform: "kubernetes", Namespace: strings.ToLower(rand.Text())}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			credtest.RunDelivery(t, credtest.Deliveries{
				Open: a.delivery, Reader: reader, Read: a.read,
			})
		})
	}
}

// Applications cannot read the broker's own secrets, not even the originals of theirs.
func TestApplicationsReadNothingElse(t *testing.T) {
	t.Parallel()
	a := startApplications(t)
	store := open(t, a.withToken(t))
	mustPut(t, store)
	reader := credhub.Reader{InstanceID: "instance", BindingID: "binding", AppID: "app", Platform: "cloudfoundry"}
	if err := a.delivery(t).Deliver(t.Context(), reader, value); err != nil {
		t.Fatal(err)
	}
	client, err := a.admin.Clone()
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(a.token(t, reader))
	for _, p := range []string{"chandler/" + path.String(), "chandler-applications/cloudfoundry/app2/binding", "chandler-applications/kubernetes/app/binding"} {
		if _, err := client.KVv2("secret").Get(t.Context(), p); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", p, err)
		}
	}
	own := "chandler-applications/cloudfoundry/app/binding"
	if _, err := client.KVv2("secret").Put(t.Context(), own, map[string]any{"a": "b"}); err == nil {
		t.Error("an application can write")
	}
	if _, err := client.Logical().ListWithContext(t.Context(), "secret/metadata/chandler-applications/cloudfoundry"); err == nil {
		t.Error("an application can list the others")
	}
}

// expectDocumented compares docs/kubernetes.md with what a platform gets.
func expectDocumented(t *testing.T, s server) {
	t.Helper()
	d, err := vault.NewDelivery(open(t, s.withToken(t)), vault.DeliveryConfig{
		Address: "https://vault.example.com:8200", Prefix: "chandler-applications", Kubernetes: &vault.Login{Mount: "kubernetes", Role: "applications"},
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "### Applications that read Vault themselves")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]any{}
	for _, block := range strings.Split(section, "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, text := range strings.Split(block, "---\n") {
			var manifest map[string]any
			if err := yaml.Unmarshal([]byte(text), &manifest); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			key, known := map[any]string{
				"ExternalSecret": "external_secret", "SecretStore": "secret_store", "VaultStaticSecret": "vault_static_secret",
				"VaultAuth": "vault_auth", "VaultConnection": "vault_connection", nil: "agent_annotations",
			}[manifest["kind"]]
			if !known {
				t.Errorf("docs/kubernetes.md has a manifest of the unknown kind %v", manifest["kind"])
			}
			documented[key] = manifest
		}
	}
	told := d.Attributes(credhub.Reader{BindingID: "b1d6", Platform: "kubernetes", Namespace: "shop"})
	if diff := cmp.Diff(told, documented); diff != "" {
		t.Errorf("docs/kubernetes.md differs from the attributes (-attributes +documented):\n%s", diff)
	}
}

// expectNamespaces requires Vault's namespace in each object that needs it.
func expectNamespaces(t *testing.T, told map[string]any) {
	t.Helper()
	at := func(path ...string) any {
		var v any = told
		for _, key := range path {
			object, _ := v.(map[string]any)
			v = object[key]
		}
		return v
	}
	for name, namespace := range map[string]any{
		"secret_store": at("secret_store", "spec", "provider", "vault", "namespace"), "vault_static_secret": at("vault_static_secret", "spec", "namespace"),
		"vault_auth": at("vault_auth", "spec", "namespace"), "agent_annotations": at("agent_annotations", "vault.hashicorp.com/namespace"),
	} {
		if namespace != "team" {
			t.Errorf("%s contains the namespace %v", name, namespace)
		}
	}
	if at("vault_static_secret", "spec", "vaultAuthRef") != at("vault_auth", "metadata", "name") {
		t.Errorf("the attributes do not include the VaultAuth that the secret refers to: %v", told)
	}
}

// expectOwnAuth requires a reference to the cluster's own VaultAuth, and no other VaultAuth.
func expectOwnAuth(t *testing.T, s server) {
	t.Helper()
	d, err := vault.NewDelivery(open(t, s.withToken(t)), vault.DeliveryConfig{
		Prefix: "apps", Kubernetes: &vault.Login{Mount: "k8s", Role: "reader", VaultAuth: "operators/default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := d.Attributes(credhub.Reader{BindingID: "b", Platform: "kubernetes", Namespace: "shop"})
	spec := told["vault_static_secret"].(map[string]any)["spec"].(map[string]any)
	if spec["vaultAuthRef"] != "operators/default" || told["vault_auth"] != nil || told["vault_connection"] != nil || spec["namespace"] != nil {
		t.Errorf("the attributes with an own VaultAuth: %v", told)
	}
}

// On Kubernetes the platform gets manifests that the operators there accept.
func TestManifests(t *testing.T) {
	t.Parallel()
	s := start(t)
	d, err := vault.NewDelivery(open(t, s.withToken(t)), vault.DeliveryConfig{
		Address: "https://vault.example.com", Namespace: "team", Prefix: "apps", Kubernetes: &vault.Login{Mount: "k8s", Role: "reader"},
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := credhub.Reader{BindingID: "B 1", Platform: "kubernetes", Namespace: "shop"}
	text, err := json.Marshal([]any{d.Reference(reader), d.Attributes(reader)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"address":"https://vault.example.com"`, `"namespace":"team"`, `"kind":"ExternalSecret"`, `"kind":"VaultStaticSecret"`, `"kind":"SecretStore"`,
		`"vault.hashicorp.com/agent-inject":"true"`, `"auth_role":"reader"`, `"namespace":"shop"`, `"mountPath":"k8s"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the attributes lack %s: %s", want, text)
		}
	}
	expectDocumented(t, s)
	expectNamespaces(t, d.Attributes(reader))
	expectOwnAuth(t, s)
	if told := d.Attributes(credhub.Reader{BindingID: "b", Platform: "cloudfoundry", AppID: "a"}); told != nil {
		t.Errorf("attributes on another platform: %v", told)
	}
	for _, r := range []credhub.Reader{{BindingID: "b", Platform: "cloudfoundry", AppID: "a"}, {BindingID: "b", Platform: "kubernetes"}, {Platform: "kubernetes", Namespace: "a/b"}} {
		if err := d.Check(r); err == nil {
			t.Errorf("Check accepts %+v", r)
		}
	}
	if _, err := vault.NewDelivery(open(t, s.withToken(t)), vault.DeliveryConfig{Prefix: "chandler"}); err == nil {
		t.Error("NewDelivery accepts the broker's own prefix")
	}
}
