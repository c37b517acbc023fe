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

// client calls the gateway as its administrator. S3 libraries do not know the
// gateway's administration, and retry, which only the engine does here.
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
	maps.Copy(req.Header, r.header)
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

// apiError is the gateway's answer with an error (Amazon S3 API reference, "Error
// responses").
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

// refusals are the gateway's answers to an account that is unknown or may not administer
// it.
var refusals = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminAccessDenied"}

func is(err error, codes ...string) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && slices.Contains(codes, e.Code)
}

// explain adds what the broker was doing and what the operator can do.
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
