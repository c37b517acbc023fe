package rgw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// gateway is the administration of the RADOS gateway (Ceph documentation, "Admin Operations").
type gateway struct {
	api *admin.API
	// s3 signs with the broker's own key.
	s3 objectstore.Client
}

func newGateway(at *url.URL, c Config, transport http.RoundTripper) (*gateway, error) {
	api, err := admin.New(at.String(), c.AccessKeyID, c.SecretAccessKey.Reveal(), caller{transport})
	if err != nil {
		return nil, err
	}
	return &gateway{api: api, s3: objectstore.Client{
		URL: at, Region: c.Region, AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, Transport: transport, Advice: advice(),
	}}, nil
}

// as is a client of the S3 API with a user's key.
func (g *gateway) as(key admin.UserKeySpec) *objectstore.Client {
	c := g.s3
	c.AccessKey, c.SecretKey = key.AccessKey, services.NewSecret(key.SecretKey)
	return &c
}

// caller sends the requests of go-ceph, whose own errors quote whole answers with their secrets.
type caller struct{ next http.RoundTripper }

// Do implements admin.HTTPClient. An answer that it returns is a success, and JSON or empty.
func (c caller) Do(r *http.Request) (*http.Response, error) {
	if !makesSecret(r) { // as all others, which are idempotent
		r.Header["Idempotency-Key"] = nil // makes net/http repeat one on a closed idle connection
	}
	resp, answer, err := httpapi.Exchange(c.next, r, r.Method != http.MethodGet)
	switch {
	case err != nil:
		return nil, &callError{err}
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, &callError{objectstore.ReadError(resp.StatusCode, answer)}
	case resp.Header.Get("X-Amz-Request-Id") == "":
		return nil, &callError{errors.New("the reply did not come from a gateway; check the endpoint")}
	case len(answer) > 0 && !json.Valid(answer):
		return nil, &callError{errNotUnderstood}
	}
	return resp, nil
}

func makesSecret(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "generate-key=true") }

var errNotUnderstood = errors.New("the gateway's answer is not understood")

// callError is an error of caller's.
type callError struct{ error }

func (e *callError) Unwrap() error { return e.error }

// explain adds to an error of go-ceph what the broker was doing and what the operator can do. It
// drops go-ceph's own errors.
func (g *gateway) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*callError](err); !ours {
		err = withoutAnswer(err)
	}
	return g.s3.Explain(doing, err)
}

// withoutAnswer replaces an error of go-ceph's, which may quote an answer.
func withoutAnswer(err error) error {
	for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, end) {
			return end
		}
	}
	return errNotUnderstood
}

// Error codes that mean something to this package.
const (
	accessDenied   = "AccessDenied"
	userExists     = "UserAlreadyExists"
	noSuchUser     = "NoSuchUser"
	noSuchKey      = "InvalidAccessKeyId"
	tooManyBuckets = "TooManyBuckets"
	// conflict is the gateway's answer to concurrent changes of one user.
	conflict = "UnknownError"
)

func advice() []services.Advice {
	return []services.Advice{
		{About: objectstore.HasCode(noSuchKey, "SignatureDoesNotMatch", accessDenied),
			Text: "check that access_key_id and secret_access_key are a key of a user with the capabilities users=*, buckets=read and metadata=read"},
		{About: objectstore.HasCode("InsufficientCapacity", "InsufficientStorage"), Text: "the cluster is full; add storage to it", Full: true},
		{About: objectstore.HasCode(objectstore.InternalError, conflict), Text: "the gateway failed; its log says why"},
	}
}

// checkRights asks whether the gateway answers and the broker's user may administer it.
func (g *gateway) checkRights(ctx context.Context) error {
	self, err := g.api.GetUser(ctx, admin.User{Keys: []admin.UserKeySpec{{AccessKey: g.s3.AccessKey}}})
	if err != nil {
		return g.explain("read the broker's own user", err)
	}
	var missing []string
	for kind, least := range map[string]string{"users": "*", "buckets": "read", "metadata": "read"} {
		if !slices.ContainsFunc(self.Caps, func(c admin.UserCapSpec) bool { return c.Type == kind && (c.Perm == "*" || c.Perm == least) }) {
			missing = append(missing, kind+"="+least)
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("the broker's user %s lacks the capabilities %[2]s: run radosgw-admin caps add --uid=%[1]s --caps='%[2]s'", self.ID, strings.Join(missing, ";"))
}

// maxConflicts is how many concurrent changes of a user one call follows.
const maxConflicts = 20

// repeat repeats a change that read what it depends on until nothing interfered.
func repeat(ctx context.Context, change func() error) error {
	for range maxConflicts {
		err := change()
		if !objectstore.Is(err, conflict) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond): //nolint:gosec // no secret
		}
	}
	return change()
}
