package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 wants it beside some bodies, to find damage, not fraud
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// client calls the gateway as its administrator. It is no S3 library's client:
// those repeat calls on their own account, which is the engine's to do, and
// none knows the gateway's administration.
type client struct {
	endpoint, admin *url.URL
	region          string
	accessKey       string
	secretKey       services.Secret
	http            *http.Client
}

const (
	// connectTimeout bounds one attempt to reach the gateway, so that one that
	// is away is told from one that is slow.
	connectTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 20
)

// newTransport trusts the authority where there is one, else the machine's.
func newTransport(authority string) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: connectTimeout, KeepAlive: 20 * time.Second}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		TLSClientConfig:     &tls.Config{RootCAs: cafile.Pool(authority), MinVersion: tls.VersionTLS12},
	}
}

// request is one call.
type request struct {
	method string
	// bucket and key are the path; an administrator's command is one as well.
	bucket, key string
	query       url.Values
	header      http.Header
	body        []byte
	admin       bool
}

// reads says whether the request changes nothing.
func (r request) reads() bool {
	return r.method == http.MethodGet || (r.admin && strings.HasPrefix(r.bucket, "list-"))
}

// call makes one call and reads the answer into out, which may be nil.
func (c *client) call(ctx context.Context, r request, out any) error {
	if r.reads() {
		return c.send(ctx, r, out)
	}
	return services.RunToCompletion(ctx, func(ctx context.Context) error { return c.send(ctx, r, out) })
}

func (c *client) send(ctx context.Context, r request, out any) error {
	req, err := c.signed(ctx, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return readError(resp.StatusCode, answer)
	}
	if resp.Header.Get("X-Amz-Request-Id") == "" { // which each of its answers has
		return errors.New("what answers is not the gateway; check the endpoint")
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
	base := c.endpoint
	if r.admin {
		base = c.admin
	}
	u := *base
	u.Path = "/" + r.bucket
	if r.key != "" {
		u.Path += "/" + r.key
	}
	u.RawPath = s3utils.EncodePath(u.Path)
	u.RawQuery = s3utils.QueryEncode(r.query)
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if len(r.body) > 0 {
		sum := md5.Sum(r.body) //nolint:gosec // as above
		req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256(r.body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req = signer.SignV4(*req, c.accessKey, c.secretKey.Reveal(), "", c.region)
	// Every call of this package may be made twice. That tells net/http so: it
	// then takes another connection where the gateway has closed an idle one.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// apiError is the gateway's answer where it is an error (Amazon S3 API
// reference, "Error responses").
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

// refusals are what the gateway says to an account that it does not know or
// that may not administer it.
var refusals = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminAccessDenied"}

func is(err error, codes ...string) bool {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// explain says what was being done, and what the operator can do about it.
func explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case is(err, refusals...):
		return fmt.Errorf("%s: %w; check that access_key_id and secret_access_key are an account with the role admin, and that region is the gateway's", doing, err)
	case is(err, noSpace):
		return fmt.Errorf("%s: %w; make room on the gateway's disk", doing, err)
	case is(err, internalError):
		return fmt.Errorf("%s: %w; the gateway's log says why; is its disk full?", doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
