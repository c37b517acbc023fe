package s3

import (
	"context"
	"net/url"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	s, err := b.state(ctx, r.Instance.Name, "")
	if err != nil {
		return services.BindResult{}, b.explainAbsent(bucket, err)
	}
	mine := account{instance: r.Instance.Name, binding: r.Binding.Name, role: r.Binding.Params.Role}
	others := slices.DeleteFunc(slices.Clone(s.accounts), func(a account) bool { return a.binding == mine.binding })
	if len(others) >= r.Instance.Plan.Bindings {
		return services.BindResult{}, services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", len(others), r.Instance.Plan.Bindings)
	}
	// An account of an earlier attempt with another role is another credential.
	for _, a := range s.accounts {
		if a.binding == mine.binding && a != mine {
			if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
				return services.BindResult{}, err
			}
		}
	}
	secret := r.Binding.Seed.Password("s3")
	if err := b.gateway.putAccount(ctx, b.names.accessKey(mine), secret); err != nil {
		return services.BindResult{}, err
	}
	s.accounts = append(others, mine)
	if err := b.converge(ctx, r.Instance.Name, s, ""); err != nil {
		return services.BindResult{}, b.explainAbsent(bucket, err)
	}
	return services.BindResult{Credentials: b.public.credentials(bucket, b.names.accessKey(mine), secret)}, nil
}

// Unbind implements services.Backend. Deleting the access key ends all access.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	s, err := b.state(ctx, r.Instance.Name, r.Binding.Name)
	if err == nil {
		err = b.converge(ctx, r.Instance.Name, s, r.Binding.Name)
	}
	if is(err, noSuchBucket) {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, err
}

// clientEndpoint is where applications find the gateway.
type clientEndpoint struct {
	endpoint.Server
	url    *url.URL
	region string
}

func newClientEndpoint(u *url.URL, region, ca string) clientEndpoint {
	_, at, _ := endpoint.Parse(u.String(), ports) // u was made by Parse
	at.CA = ca
	return clientEndpoint{at, u, region}
}

// credentials are what an application reads. Addressing the bucket by host would need DNS.
func (c clientEndpoint) credentials(bucket, accessKey string, secretKey services.Secret) services.Credentials {
	return c.Credentials(credentialType, "tcp", map[string]any{
		"endpoint":          c.url.String(),
		"tls":               c.url.Scheme == "https",
		"region":            c.region,
		"bucket":            bucket,
		"access_key_id":     accessKey,
		"secret_access_key": secretKey.Reveal(),
		"path_style":        true,
		"uri":               c.uri(bucket, accessKey, secretKey),
	})
}

// uri is s3://key:secret@host:port/bucket?region=...&tls=...
func (c clientEndpoint) uri(bucket, accessKey string, secretKey services.Secret) string {
	u := url.URL{
		Scheme:   "s3",
		User:     url.UserPassword(accessKey, secretKey.Reveal()),
		Host:     c.Address(),
		Path:     "/" + bucket,
		RawQuery: url.Values{"region": {c.region}, "tls": {strconv.FormatBool(c.url.Scheme == "https")}}.Encode(),
	}
	return u.String()
}
