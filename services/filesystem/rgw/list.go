package rgw

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return "bucket " + b.names.bucketOf(inst.Name) }

// List implements services.Lister. An instance exists as long as one of its users does.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var (
		found     []services.Resource
		instances = map[string]bool{}
		marker    string
	)
	for first := true; first || marker != ""; first = false {
		users, next, err := b.gateway.users(ctx, marker)
		if err != nil {
			return nil, err
		}
		for _, id := range users {
			if instance, ours := b.names.instance.Instance(id); ours && !instances[instance] {
				instances[instance] = true
				found = append(found, services.Resource{Instance: instance, Name: "bucket " + b.names.bucketOf(instance)})
			}
		}
		marker = next
	}
	bindings, err := b.listBindings(ctx, found)
	return append(found, bindings...), err
}

// lookups is how many users List reads at the same time.
const lookups = 8

// listBindings returns the bindings of instances.
func (b *backend) listBindings(ctx context.Context, instances []services.Resource) (found []services.Resource, failure error) {
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		free = make(chan struct{}, lookups)
	)
	for _, inst := range instances {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			bindings, err := b.bindingsOf(ctx, inst.Instance)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, bindings...)
			if err != nil {
				failure = err
			}
		})
	}
	wait.Wait()
	return found, failure
}

func (b *backend) bindingsOf(ctx context.Context, instance string) (found []services.Resource, err error) {
	for _, role := range roles() {
		u, err := b.gateway.user(ctx, b.names.user(instance, objectstore.RoleSuffix(role)))
		if objectstore.Is(err, noSuchUser) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, k := range u.Keys {
			if _, binding, ok := b.names.key.Binding(k.AccessKey); ok {
				found = append(found, services.Resource{Instance: instance, Binding: binding, Name: "access key " + k.AccessKey})
			}
		}
	}
	return found, nil
}

// users returns a page of the IDs of all users, and where the next one begins; "" at the end.
// go-ceph asks for all at once.
func (g *gateway) users(ctx context.Context, marker string) (page []string, next string, err error) {
	query := url.Values{"format": {"json"}, "max-entries": {"1000"}}
	if marker != "" {
		query.Set("marker", marker)
	}
	var text []byte
	r := objectstore.Request{Method: http.MethodGet, Bucket: "admin", Key: "metadata/user", Query: query}
	if err := g.s3.Call(ctx, r, &text); err != nil {
		return nil, "", g.s3.Explain("list the gateway's users", err)
	}
	var answer struct {
		Keys      []string `json:"keys"`
		Truncated any      `json:"truncated"` // a text in some releases
		Marker    string   `json:"marker"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Truncated == nil {
		return nil, "", g.s3.Explain("list the gateway's users", errNotUnderstood)
	}
	if answer.Truncated == true || answer.Truncated == "true" {
		next = answer.Marker
	}
	return answer.Keys, next, nil
}
