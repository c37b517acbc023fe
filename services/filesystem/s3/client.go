package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 wants it beside some bodies, to find damage, not fraud
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// client calls the gateway as its administrator. S3 libraries lack its administration, and retry.
type client struct {
	endpoint, admin *url.URL
	region          string
	accessKey       string
	secretKey       services.Secret
	transport       *http.Transport
}

// request is one call.
type request struct {
	method string
	// bucket and key are the path; a command of the administration is a bucket, too.
	bucket, key string
	query       url.Values
	header      http.Header
	body        any // bytes, or what is encoded as XML
	admin       bool
}

// reads says whether the request changes nothing.
func (r request) reads() bool {
	return r.method == http.MethodGet || r.admin && strings.HasPrefix(r.bucket, "list-")
}

// content is the body as it is sent.
func (r request) content() ([]byte, error) {
	if text, ok := r.body.([]byte); ok || r.body == nil {
		return text, nil
	}
	return xml.Marshal(r.body)
}

// call makes one call and reads the answer into out, which may be nil.
func (c *client) call(ctx context.Context, r request, out any) error {
	req, err := c.signed(ctx, r)
	if err != nil {
		return err
	}
	resp, answer, err := httpapi.Exchange(c.transport, req, !r.reads()) //nolint:bodyclose // Exchange closed it
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return readError(resp.StatusCode, answer)
	}
	if resp.Header.Get("X-Amz-Request-Id") == "" { // which each of the gateway's answers has
		return errors.New("the reply did not come from a gateway; check the endpoint")
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = answer
	default:
		if err := xml.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("the gateway's answer is not understood: %w", err)
		}
	}
	return nil
}

func (c *client) signed(ctx context.Context, r request) (*http.Request, error) {
	body, err := r.content()
	if err != nil {
		return nil, err
	}
	u := *c.endpoint
	if r.admin {
		u = *c.admin
	}
	u.Path = "/" + r.bucket
	if r.key != "" {
		u.Path += "/" + r.key
	}
	u.RawPath = s3utils.EncodePath(u.Path)
	u.RawQuery = s3utils.QueryEncode(r.query)
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.header)
	if len(body) > 0 {
		sum := md5.Sum(body) //nolint:gosec // as above
		req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req = signer.SignV4(*req, c.accessKey, c.secretKey.Reveal(), "", c.region)
	// All calls are idempotent. The header makes net/http repeat one on a closed idle connection.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// apiError is the gateway's answer with an error (Amazon S3 API reference, "Error responses").
type apiError struct {
	Status  int    `xml:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("the gateway answers %d %s: %s", e.Status, e.Code, e.Message)
}

func readError(status int, answer []byte) error {
	e := &apiError{}
	if xml.Unmarshal(answer, e) != nil || e.Code == "" {
		e = &apiError{Code: strings.ReplaceAll(http.StatusText(status), " ", ""), Message: "without an explanation; is this a Versity S3 Gateway?"}
	}
	e.Status = status
	if len(e.Message) > 200 {
		e.Message = e.Message[:200] + "…"
	}
	return e
}

// Error codes that mean something to this package.
const (
	bucketExists    = "BucketAlreadyExists"
	bucketOwned     = "BucketAlreadyOwnedByYou"
	bucketNotEmpty  = "BucketNotEmpty"
	noSuchBucket    = "NoSuchBucket"
	noSuchPolicy    = "NoSuchBucketPolicy"
	noSuchTags      = "NoSuchTagSet"
	noOwnership     = "OwnershipControlsNotFoundError"
	noSuchUpload    = "NoSuchUpload"
	internalError   = "InternalError"
	malformedPolicy = "MalformedPolicy"
	noSpace         = "NoSpaceLeftOnDevice"
	userExists      = "XAdminUserExists"
	userNotFound    = "XAdminUserNotFound"
)

func is(err error, codes ...string) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && slices.Contains(codes, e.Code)
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error { return services.Explain(doing, err, advice()) }

func advice() []services.Advice {
	code := func(codes ...string) func(error) bool {
		return func(err error) bool { return is(err, codes...) }
	}
	return []services.Advice{
		{About: code("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminAccessDenied"),
			Text: "check that access_key_id and secret_access_key are an account with the role admin, and that region is the gateway's"},
		{About: code(noSpace), Text: "the gateway's disk is full; make room on it"},
		{About: code(internalError), Text: "the gateway failed; its log says why, such as a full disk"},
	}
}

// command makes one call of the administration (Versity S3 Gateway, s3api/admin-router.go).
func (c *client) command(ctx context.Context, name string, query url.Values, body, out any) error {
	return c.call(ctx, request{method: http.MethodPatch, bucket: name, query: query, body: body, admin: true}, out)
}

// putAccount makes an account, or sets the secret of an existing one.
func (c *client) putAccount(ctx context.Context, accessKey string, secret services.Secret) error {
	type account struct {
		XMLName xml.Name
		Access  string `xml:",omitempty"`
		Secret  string
		Role    string
	}
	created := account{XMLName: xml.Name{Local: "Account"}, Access: accessKey, Secret: secret.Reveal(), Role: "user"}
	err := c.command(ctx, "create-user", nil, created, nil)
	if !is(err, userExists) {
		return explain("make the binding's account", err)
	}
	changes := account{XMLName: xml.Name{Local: "MutableProps"}, Secret: secret.Reveal(), Role: "user"}
	err = c.command(ctx, "update-user", url.Values{"access": {accessKey}}, changes, nil)
	return explain("set the secret of the binding's account", err)
}

// deleteAccount removes an account and its access key. An absent one is not an error.
func (c *client) deleteAccount(ctx context.Context, accessKey string) error {
	err := c.command(ctx, "delete-user", url.Values{"access": {accessKey}}, nil, nil)
	if is(err, userNotFound) {
		return nil
	}
	return explain("remove the binding's account", err)
}

// accessKeys returns the names of all accounts on the gateway.
func (c *client) accessKeys(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName xml.Name `xml:"ListUserAccountsResult"`
		Names   []string `xml:"Accounts>Access"`
	}
	err := c.command(ctx, "list-users", nil, nil, &answer)
	return answer.Names, explain("list the gateway's accounts", err)
}

// buckets returns the names of all buckets on the gateway.
func (c *client) buckets(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName xml.Name `xml:"ListBucketsResult"`
		Names   []string `xml:"Buckets>Name"`
	}
	err := c.command(ctx, "list-buckets", nil, nil, &answer)
	return answer.Names, explain("list the gateway's buckets", err)
}
