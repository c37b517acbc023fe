package bench_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// call is one request to a server's API.
type call struct{ method, path, body string }

// api makes calls of a verb one after the other; NAME in a call is replaced.
type api struct {
	url  string
	sign func(*http.Request, []byte) *http.Request
}

func (a api) steps(calls map[string][]call) map[string]func(context.Context, string) error {
	steps := map[string]func(context.Context, string) error{}
	for verb, all := range calls {
		steps[verb] = func(ctx context.Context, name string) error {
			for _, c := range all {
				if err := a.make(ctx, c, name); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return steps
}

func (a api) make(ctx context.Context, c call, name string) error {
	body := []byte(strings.ReplaceAll(c.body, "NAME", name))
	request, err := http.NewRequestWithContext(ctx, c.method, a.url+strings.ReplaceAll(c.path, "NAME", name), bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(a.sign(request, body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", c.method, c.path, answer.Status, text)
	}
	return err
}

func bareRabbitMQ(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	u, err := url.Parse(d.Value("RABBITMQ_ADMIN_URL"))
	check(b, err)
	user := u.User
	u.User = nil
	password, _ := user.Password()
	return api{u.String(), func(r *http.Request, _ []byte) *http.Request {
		r.SetBasicAuth(user.Username(), password)
		return r
	}}.steps(map[string][]call{
		"provision": {{"PUT", "/api/vhosts/NAME", `{}`}},
		"bind": {
			{"PUT", "/api/users/NAME", `{"password": "a bare password", "tags": ""}`},
			{"PUT", "/api/permissions/NAME/NAME", `{"configure": ".*", "write": ".*", "read": ".*"}`},
		},
		"unbind":      {{"DELETE", "/api/users/NAME", ""}},
		"deprovision": {{"DELETE", "/api/vhosts/NAME", ""}},
	})
}

func barePowerDNS(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	const allowed = "/zones/NAME.bare.example./metadata/TSIG-ALLOW-DNSUPDATE"
	return api{d.Value("POWERDNS_API_URL") + "/api/v1/servers/localhost", func(r *http.Request, _ []byte) *http.Request {
		r.Header.Set("X-Api-Key", d.Value("POWERDNS_API_KEY"))
		return r
	}}.steps(map[string][]call{
		"provision": {{"POST", "/zones", `{"name": "NAME.bare.example.", "kind": "Native", "nameservers": ["ns1.example.com."]}`}},
		"bind": {
			{"POST", "/tsigkeys", `{"name": "NAME", "algorithm": "hmac-sha256"}`},
			{"PUT", allowed, `{"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": ["NAME."]}`},
		},
		"unbind": {
			{"PUT", allowed, `{"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": []}`},
			{"DELETE", "/tsigkeys/NAME.", ""},
		},
		"deprovision": {{"DELETE", "/zones/NAME.bare.example.", ""}},
	})
}

// bareS3 makes the bucket and the account, and lets the account in by the
// bucket's policy.
func bareS3(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	const policy = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["NAME"]},
		"Action": ["s3:*"], "Resource": ["arn:aws:s3:::NAME", "arn:aws:s3:::NAME/*"]}]}`
	return api{d.Value("S3_ENDPOINT"), signedS3(d.Value("S3_ACCESS_KEY_ID"), d.Value("S3_SECRET_ACCESS_KEY"))}.steps(map[string][]call{
		"provision": {{"PUT", "/NAME", ""}},
		"bind": {
			{"PATCH", "/create-user", `<Account><Access>NAME</Access><Secret>a bare secret</Secret><Role>user</Role></Account>`},
			{"PUT", "/NAME?policy=", policy},
		},
		"unbind":      {{"PATCH", "/delete-user?access=NAME", ""}},
		"deprovision": {{"DELETE", "/NAME", ""}},
	})
}

func signedS3(key, secret string) func(*http.Request, []byte) *http.Request {
	return func(r *http.Request, body []byte) *http.Request {
		sum := sha256.Sum256(body)
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		return signer.SignV4(*r, key, secret, "", "us-east-1")
	}
}
