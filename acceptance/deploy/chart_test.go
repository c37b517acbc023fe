// Package deploy_test checks what operators install: the release, the Helm chart,
// the alerts and the dashboard, each with the code of the program that reads it.
package deploy_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../../deploy/helm/chandler"

	catalog = "services: []\n"
)

// minimal is what everybody has to say; the rest is the default.
const minimal = `
image: {repository: images.example.com/chandler}
catalog: "services: []\n"
existingSecret: chandler
networkPolicy:
  egress:
    state: [{to: [{ipBlock: {cidr: 10.0.0.5/32}}], ports: [{port: 5432}]}]
`

// everything turns on whatever can be.
const everything = minimal + `
    vault: [{to: [{ipBlock: {cidr: 10.0.0.6/32}}], ports: [{port: 8200}]}]
    backends: [{to: [{ipBlock: {cidr: 10.0.1.0/24}}]}]
  platforms: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: korifi}}}]
  monitoring: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
imagePullSecrets: [{name: registry}]
existingSecretFiles: chandler-files
environment: {CHANDLER_LOG_LEVEL: debug, CHANDLER_WORKERS: 8}
extraEnv: [{name: POSTGRES_ADMIN_URL, valueFrom: {secretKeyRef: {name: tenants, key: url}}}]
extraVolumes: [{name: state-ca, configMap: {name: state-ca}}]
extraVolumeMounts: [{name: state-ca, mountPath: /etc/chandler/state, readOnly: true}]
ingress: {enabled: true, className: nginx, annotations: {team: data}, host: broker.example.com, tlsSecret: broker-tls}
smoke: {plan: postgres-small}
tls: {existingSecret: chandler-tls}
vault: {address: "https://vault.example.com", namespace: team, caConfigMap: vault-ca}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: services, operator: Exists}]
podAnnotations: {team: data}
podLabels: {team: data}
priorityClassName: high
functions:
  enabled: true
  existingSecret: chandler-functions
  apiHost: https://functions.example.com
  messageServers: ["nats.example.com:4222"]
  environment: {FUNCTIONS_WORKERS: 4}
  existingSecretFiles: functions-files
  extraEnv: [{name: CHANDLER_LOG_LEVEL, valueFrom: {configMapKeyRef: {name: logging, key: level}}}]
  extraVolumes: [{name: database-ca, configMap: {name: database-ca}}]
  extraVolumeMounts: [{name: database-ca, mountPath: /etc/chandler/database, readOnly: true}]
  ingress: {enabled: true, host: functions.example.com}
  tls: {existingSecret: functions-tls}
  networkPolicy:
    clients: [{podSelector: {}}]
    egress: [{to: [{ipBlock: {cidr: 10.0.0.5/32}}]}]
`

// render returns the manifests as text, by kind and name.
func render(t *testing.T, text string) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "chandler", Namespace: "services"}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for name, file := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(file, -1) {
			var head struct {
				Kind     string
				Metadata struct{ Name, Namespace string }
			}
			if err := yaml.Unmarshal([]byte(document), &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			if head.Kind == "" {
				continue
			}
			if head.Metadata.Namespace != "services" {
				t.Errorf("%s: %s is in namespace %q", name, head.Kind, head.Metadata.Namespace)
			}
			found[head.Kind+" "+head.Metadata.Name] = document
		}
	}
	return found, nil
}

// manifests renders values that have to be good.
func manifests(t *testing.T, values string) map[string]string {
	t.Helper()
	found, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// decode takes a manifest as the API server does that refuses unknown fields.
func decode[T any](t *testing.T, found map[string]string, name string) T {
	t.Helper()
	var object T
	text, ok := found[name]
	if !ok {
		t.Fatalf("there is no %s, but %q", name, slices.Sorted(maps.Keys(found)))
	}
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Errorf("%s: %v\n%s", name, err, text)
	}
	return object
}

func TestChartLint(t *testing.T) {
	for name, text := range map[string]string{"minimal": minimal, "everything": everything} {
		values, err := chartutil.ReadValues([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range lint.All(chartFolder, values, "services", true).Messages {
			if message.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, message)
			}
		}
	}
}

// Every manifest is what Kubernetes knows, and the broker's pods have no right
// that they do not need.
func TestManifests(t *testing.T) {
	for name, text := range map[string]string{"minimal": minimal, "everything": everything} {
		t.Run(name, func(t *testing.T) {
			found := manifests(t, text)
			for manifest := range found {
				switch kind, _, _ := strings.Cut(manifest, " "); kind {
				case "Deployment":
					deployment(t, found, decode[apps.Deployment](t, found, manifest))
				case "Job":
					job := decode[batch.Job](t, found, manifest)
					if hook := job.Annotations["helm.sh/hook"]; hook != map[string]string{"chandler-migrate": "pre-install,pre-upgrade", "chandler-smoke": "test"}[job.Name] {
						t.Errorf("%s runs at %s", job.Name, hook)
					}
					pod(t, job.Spec.Template)
				case "Service":
					decode[core.Service](t, found, manifest)
				case "ServiceAccount":
					if account := decode[core.ServiceAccount](t, found, manifest); account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
						t.Error("pods can call the API of Kubernetes")
					}
				case "ConfigMap":
					if got := decode[core.ConfigMap](t, found, manifest).Data["catalog.yml"]; got != catalog {
						t.Errorf("the catalog is %q", got)
					}
				case "NetworkPolicy":
					if p := decode[networking.NetworkPolicy](t, found, manifest).Spec; len(p.PolicyTypes) != 2 || len(p.Egress) < 2 || len(p.PodSelector.MatchLabels) != 3 {
						t.Errorf("%s: %+v", manifest, p)
					}
				case "Ingress":
					ingress(t, found, decode[networking.Ingress](t, found, manifest))
				case "PodDisruptionBudget":
					decode[policy.PodDisruptionBudget](t, found, manifest)
				case "ServiceMonitor", "PodMonitor", "PrometheusRule": // of the Prometheus Operator
					decode[map[string]any](t, found, manifest)
				default:
					t.Errorf("%s is not checked", manifest)
				}
			}
		})
	}
}

// deployment checks one deployment with what belongs to it.
func deployment(t *testing.T, found map[string]string, d apps.Deployment) {
	t.Helper()
	if *d.Spec.Replicas != 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("%s: %d replicas, strategy %+v", d.Name, *d.Spec.Replicas, d.Spec.Strategy)
	}
	pod(t, d.Spec.Template)
	labels, container := d.Spec.Template.Labels, d.Spec.Template.Spec.Containers[0]
	chosen := func(what string, selector map[string]string) {
		if len(selector) == 0 || !maps.Equal(selector, d.Spec.Selector.MatchLabels) {
			t.Errorf("%s: the %s chooses %v", d.Name, what, selector)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s: the %s wants %s=%s", d.Name, what, key, value)
			}
		}
	}
	service := decode[core.Service](t, found, "Service "+d.Name)
	chosen("service", service.Spec.Selector)
	chosen("disruption budget", decode[policy.PodDisruptionBudget](t, found, "PodDisruptionBudget "+d.Name).Spec.Selector.MatchLabels)
	chosen("network policy", decode[networking.NetworkPolicy](t, found, "NetworkPolicy "+d.Name).Spec.PodSelector.MatchLabels)
	if !slices.ContainsFunc(container.Ports, func(p core.ContainerPort) bool { return p.Name == service.Spec.Ports[0].TargetPort.StrVal }) {
		t.Errorf("%s: the service's port is none of %v", d.Name, container.Ports)
	}
	if container.LivenessProbe == nil || container.ReadinessProbe == nil || container.Lifecycle.PreStop == nil {
		t.Errorf("%s: a probe or the pause before the end is missing", d.Name)
	}
}

// ingress checks that an Ingress leads to the port of a service that exists.
func ingress(t *testing.T, found map[string]string, i networking.Ingress) {
	t.Helper()
	to := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
	service := decode[core.Service](t, found, "Service "+to.Name)
	if i.Spec.Rules[0].Host == "" || service.Spec.Ports[0].Name != to.Port.Name {
		t.Errorf("%s: %+v", i.Name, i.Spec)
	}
	for _, tls := range i.Spec.TLS {
		if tls.SecretName == "" || !slices.Equal(tls.Hosts, []string{i.Spec.Rules[0].Host}) {
			t.Errorf("%s: %+v", i.Name, tls)
		}
	}
}

// Whoever connects to the state database finds the authority of its server: the
// Job that migrates it, too. Runtimes of functions have files of their own.
func TestChartFiles(t *testing.T) {
	found := manifests(t, everything)
	broker := decode[apps.Deployment](t, found, "Deployment chandler").Spec.Template.Spec.Containers[0]
	migrate := decode[batch.Job](t, found, "Job chandler-migrate").Spec.Template.Spec.Containers[0]
	functions := decode[apps.Deployment](t, found, "Deployment chandler-functions").Spec.Template.Spec.Containers[0]
	for _, c := range []struct {
		container core.Container
		paths     []string
		variable  string
	}{
		{broker, []string{"/run/secrets/chandler", "/etc/chandler/state"}, "POSTGRES_ADMIN_URL"},
		{migrate, []string{"/run/secrets/chandler", "/etc/chandler/state"}, "POSTGRES_ADMIN_URL"},
		{functions, []string{"/run/secrets/chandler", "/etc/chandler/database"}, "CHANDLER_LOG_LEVEL"},
	} {
		for _, path := range c.paths {
			if !slices.ContainsFunc(c.container.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == path }) {
				t.Errorf("%s has no %s", c.container.Name, path)
			}
		}
		if !slices.ContainsFunc(c.container.Env, func(v core.EnvVar) bool { return v.Name == c.variable && v.ValueFrom != nil }) {
			t.Errorf("%s has no %s", c.container.Name, c.variable)
		}
	}
}

// helm test runs smoke, which gets through to the broker and shows its password to
// nobody.
func TestChartSmoke(t *testing.T) {
	found := manifests(t, everything)
	template := decode[batch.Job](t, found, "Job chandler-smoke").Spec.Template
	container := template.Spec.Containers[0]
	if want := []string{"smoke", "--url=https://chandler.services.svc:8080", "--plan=postgres-small"}; !slices.Equal(container.Args, want) {
		t.Errorf("%q, want %q", container.Args, want)
	}
	peers := decode[networking.NetworkPolicy](t, found, "NetworkPolicy chandler").Spec.Ingress[0].From
	if !slices.ContainsFunc(peers, func(p networking.NetworkPolicyPeer) bool {
		return p.PodSelector != nil && p.PodSelector.MatchLabels["app.kubernetes.io/component"] == template.Labels["app.kubernetes.io/component"]
	}) {
		t.Errorf("the broker does not let it in: %+v", peers)
	}
	for _, v := range container.Env {
		if strings.HasSuffix(v.Name, "PASSWORD") && v.ValueFrom == nil {
			t.Errorf("%s is in the manifest", v.Name)
		}
	}
}

// pod checks that a pod runs as nobody, in a file system that it cannot write, and
// that its environment is one that the program knows.
func pod(t *testing.T, template core.PodTemplateSpec) {
	t.Helper()
	spec, container := template.Spec, template.Spec.Containers[0]
	if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks || spec.HostNetwork || spec.HostPID {
		t.Error("the pod has more of Kubernetes than it needs")
	}
	if s := spec.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod: %+v", s)
	}
	if s := container.SecurityContext; !*s.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
		!reflect.DeepEqual(s.Capabilities, &core.Capabilities{Drop: []core.Capability{"ALL"}}) {
		t.Errorf("container: %+v", s)
	}
	if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
		t.Error("without limits")
	}
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range container.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("volume %s is mounted and does not exist", m.Name)
		}
		if !m.ReadOnly && m.Name != "cache" {
			t.Errorf("volume %s is mounted for writing", m.Name)
		}
		delete(volumes, m.Name)
	}
	if len(volumes) > 0 {
		t.Errorf("nobody mounts %v", volumes)
	}
	var known []byte
	for _, file := range []string{"../../docs/operator.md", "../../functions/cmd/chandler-functions/settings.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, text...)
	}
	seen := map[string]bool{}
	for _, v := range container.Env {
		if seen[v.Name] || !regexp.MustCompile(`\b`+v.Name+`\b`).Match(known) {
			t.Errorf("variable %s is set twice, or no program knows it", v.Name)
		}
		seen[v.Name] = true
	}
}

// The pod shows Vault a token that is good for Vault alone.
func TestChartVault(t *testing.T) {
	d := decode[apps.Deployment](t, manifests(t, everything), "Deployment chandler")
	i := slices.IndexFunc(d.Spec.Template.Spec.Volumes, func(v core.Volume) bool { return v.Name == "vault-token" })
	if i < 0 {
		t.Fatal("no token")
	}
	token := d.Spec.Template.Spec.Volumes[i].Projected.Sources[0].ServiceAccountToken
	environment := map[string]string{}
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		environment[v.Name] = v.Value
	}
	if token.Audience != "vault" || environment["VAULT_AUTH_METHOD"] != "kubernetes" || environment["VAULT_KUBERNETES_JWT_FILE"] != "/run/secrets/vault/token" {
		t.Errorf("token for %q, environment %v", token.Audience, environment)
	}
	for name, text := range manifests(t, minimal) {
		if strings.Contains(text, "VAULT_") || strings.Contains(text, "vault-token") {
			t.Errorf("%s is about Vault, where there is none", name)
		}
	}
}

// The rules that are installed are those for a Prometheus without the chart.
func TestChartRules(t *testing.T) {
	text, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got := decode[map[string]any](t, manifests(t, everything), "PrometheusRule chandler")
	if !reflect.DeepEqual(got["spec"], any(want)) {
		t.Errorf("%v", got["spec"])
	}
}

// What is wrong with the values is told before anything is installed, by the name
// of the value.
func TestChartBadValues(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"", "repository"},
		{strings.Replace(minimal, "existingSecret: chandler", "", 1), "existingSecret"},
		{strings.Replace(minimal, `catalog: "services: []\n"`, "", 1), "catalog"},
		{strings.Replace(minimal, "    state: [{to: [{ipBlock: {cidr: 10.0.0.5/32}}], ports: [{port: 5432}]}]", "    state: []", 1), "state"},
		{minimal + "replicsa: 3\n", "replicsa"},
		{minimal + "replicas: 0\n", "replicas"},
		{minimal + "vault: {address: vault.example.com}\n", "/vault/address"},
		{minimal + "vault: {authMethod: ldap}\n", "authMethod"},
		{minimal + "environment: {CHANDLER_PASSWORD: secret}\n", "CHANDLER_PASSWORD"},
		{minimal + "environment: {DATABASE_URL: \"postgres://\"}\n", "DATABASE_URL"},
		{minimal + "functions: {enabled: true}\n", "existingSecret"},
		{minimal + "extraEnv: [{name: CHANDLER_PASSWORD, value: secret}]\n", "extraEnv"},
		{minimal + "extraVolumes: [{configMap: {name: x}}]\n", "extraVolumes"},
		{minimal + "ingress: {enabled: true}\n", "host"},
		{minimal + "functions: {messageServers: [nats]}\n", "messageServers"},
		{minimal + "image: {repository: x, digest: latest}\n", "digest"},
	} {
		if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\nis answered with %v, want something about %q", c.values, err, c.want)
		}
	}
}
