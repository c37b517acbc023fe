package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// backend administers the namespaces of the runtimes of one database. A change made
// through any of them holds at all.
type backend struct {
	api    *api
	host   *url.URL        // where applications call the runtimes
	server endpoint.Server // likewise
}

func open(_ context.Context, c Config) (*backend, error) {
	host, server, err := endpoint.Parse(c.APIHost, ports)
	if err != nil {
		return nil, fmt.Errorf("api_host: %w", err)
	}
	if server.CA, err = cafile.Read(c.CA, c.CAFile); err != nil {
		return nil, err
	}
	a, err := newAPI(c, server.CA)
	if err != nil {
		return nil, err
	}
	return &backend{a, host, server}, nil
}

// Ready implements services.Readier: a runtime accepts the broker's token or
// certificate, and reaches its database.
func (b *backend) Ready(ctx context.Context) error {
	return b.api.call(ctx, http.MethodGet, "ready", nil, nil)
}

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	return services.ProvisionResult{}, b.put(ctx, r.Instance)
}

// Update implements services.Backend. Runtimes read limits and mounts at every
// request, so that the new ones hold from the next one on.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	return services.UpdateResult{}, b.put(ctx, r.Instance)
}

func (b *backend) put(ctx context.Context, inst instance) error {
	mounts, err := mounts(inst)
	if err != nil {
		return err
	}
	err = b.api.call(ctx, http.MethodPut, namespacePath(inst), namespace{inst.Plan.limits(), mounts}, nil)
	return failed("write the namespace", err)
}

// Deprovision implements services.Backend. The runtime first locks out all keys and
// removes what feeds have on message servers, and then deletes everything in
// batches, which takes several calls.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (done services.DeprovisionResult, err error) {
	var left struct {
		Waiting      string
		RetryAfterMs int64 `json:"retry_after_ms"`
	}
	if err := b.api.call(ctx, http.MethodDelete, namespacePath(r.Instance), nil, &left); err != nil {
		return done, failed("delete the namespace", err)
	}
	if left.Waiting != "" {
		return done, services.NotYet(max(time.Duration(left.RetryAfterMs), 1)*time.Millisecond, left.Waiting)
	}
	return done, nil
}

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	key := deriveKey(r.Binding.Seed)
	body := map[string]string{"id": key.uuid.String(), "key": key.key.Reveal(), "role": r.Binding.Params.Role}
	if err := b.api.call(ctx, http.MethodPut, keyPath(r.Instance, r.Binding), body, nil); err != nil {
		return services.BindResult{}, failed("write the key", err)
	}
	return services.BindResult{Credentials: b.credentials(r.Instance.Name, key)}, nil
}

// Unbind implements services.Backend. Runtimes look a key up at every request, so
// that they refuse it from now on.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	err := b.api.call(ctx, http.MethodDelete, keyPath(r.Instance, r.Binding), nil, nil)
	return services.UnbindResult{}, failed("delete the key", err)
}

// credentials are what a binding's application reads.
func (b *backend) credentials(namespace string, k accessKey) services.Credentials {
	host := url.URL{Scheme: b.host.Scheme, Host: b.host.Host}
	uri := url.URL{
		Scheme: host.Scheme, Host: host.Host, Path: "/api/v1/namespaces/" + namespace,
		User: url.UserPassword(k.uuid.String(), k.key.Reveal()),
	}
	return b.server.Credentials(credentialType, "tcp", map[string]any{
		"uri": uri.String(), "api_host": host.String(), "namespace": namespace, "auth": k.auth(),
	})
}

// List implements services.Lister.
func (b *backend) List(ctx context.Context) (found []services.Resource, err error) {
	for _, what := range []string{"namespaces", "keys"} {
		for after := ""; ; {
			var p struct {
				Namespaces, Keys []struct{ Name, Namespace, ID string }
				Next             string
			}
			query := url.Values{"limit": {"1000"}, "after": {after}}
			if err := b.api.call(ctx, http.MethodGet, what+"?"+query.Encode(), nil, &p); err != nil {
				return nil, fmt.Errorf("list the %s: %w", what, err)
			}
			for _, n := range p.Namespaces {
				found = append(found, services.Resource{Instance: n.Name, Name: namespaceResource(n.Name)})
			}
			for _, k := range p.Keys {
				found = append(found, services.Resource{Instance: k.Namespace, Binding: k.Name, Name: "key " + k.ID})
			}
			if after = p.Next; after == "" {
				break
			}
		}
	}
	return found, nil
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return namespaceResource(inst.Name) }

func namespaceResource(name string) string { return "namespace " + name }

func namespacePath(inst instance) string { return "namespaces/" + inst.Name }

func keyPath(inst instance, bd binding) string { return namespacePath(inst) + "/keys/" + bd.Name }

// failed names what failed, and tells the engine what kind of error it is. The runtimes
// decide which plans and mounts are valid. A plan is the operator's, as is a directory
// that is missing on a runtime's machine; the rest of the mounts is the user's.
func failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", doing, err)
	answer, ok := errors.AsType[*statusError](err)
	switch {
	case !ok:
	case answer.status == http.StatusBadRequest && strings.HasPrefix(answer.message, "mounts") && !strings.Contains(answer.message, "].folder: "):
		return services.Rejected("%s", answer.message)
	case answer.status == http.StatusLocked:
		return services.NotYet(time.Second, "waiting for another change of the namespace in the functions' database")
	case answer.status == http.StatusInsufficientStorage:
		return services.OutOfCapacity(err)
	}
	return err
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.api.transport.CloseIdleConnections()
	return nil
}
