// Package objectstore is what the backends of S3 buckets share: a client of the S3 API for their
// administration, plans and parameters, and the credentials and sessions of applications.
package objectstore

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 wants it beside some bodies, to find damage, not fraud
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
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

// Client calls the S3 API of a gateway with one access key. S3 libraries lack the gateways' own
// calls, and retry.
type Client struct {
	URL       *url.URL // of the gateway, without a path
	Region    string
	AccessKey string
	SecretKey services.Secret
	Transport http.RoundTripper
	// Advice is for the operator, about the gateway's errors.
	Advice []services.Advice
}

// Request is one call.
type Request struct {
	Method string
	// Bucket and Key are the path. Either may be empty.
	Bucket, Key string
	Query       url.Values
	Header      http.Header
	Body        any // bytes, or what is encoded as XML
	// Reads says that the request changes nothing, which is known of GET.
	Reads bool
}

// content is the body as it is sent.
func (r Request) content() ([]byte, error) {
	if text, ok := r.Body.([]byte); ok || r.Body == nil {
		return text, nil
	}
	return xml.Marshal(r.Body)
}

// Call makes one call and reads the answer into out: bytes, or what XML is decoded into, or nil.
// The error is an *Error if the gateway answered with one.
func (c *Client) Call(ctx context.Context, r Request, out any) error {
	_, err := c.exchange(ctx, r, out)
	return err
}

// exchange is Call, and returns the headers of the answer.
func (c *Client) exchange(ctx context.Context, r Request, out any) (http.Header, error) {
	req, err := c.signed(ctx, r)
	if err != nil {
		return nil, err
	}
	reads := r.Reads || r.Method == http.MethodGet
	resp, answer, err := httpapi.Exchange(c.Transport, req, !reads) //nolint:bodyclose // Exchange closed it
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, ReadError(resp.StatusCode, answer)
	}
	if resp.Header.Get("X-Amz-Request-Id") == "" { // which each answer of a gateway has
		return nil, errors.New("the reply did not come from a gateway; check the endpoint")
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = answer
	default:
		if err := xml.Unmarshal(answer, out); err != nil {
			return nil, fmt.Errorf("the gateway's answer is not understood: %w", err)
		}
	}
	return resp.Header, nil
}

func (c *Client) signed(ctx context.Context, r Request) (*http.Request, error) {
	body, err := r.content()
	if err != nil {
		return nil, err
	}
	u := *c.URL
	u.Path = "/" + r.Bucket
	if r.Key != "" {
		u.Path += "/" + r.Key
	}
	u.RawPath = s3utils.EncodePath(u.Path)
	u.RawQuery = s3utils.QueryEncode(r.Query)
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.Header)
	if _, content := r.Body.([]byte); len(body) > 0 && !(content && r.Key != "") {
		sum := md5.Sum(body) //nolint:gosec // as above
		req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req = signer.SignV4(*req, c.AccessKey, c.SecretKey.Reveal(), "", c.Region)
	// All calls are idempotent. The header makes net/http repeat one on a closed idle connection.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// Error is the gateway's answer with an error (Amazon S3 API reference, "Error responses").
type Error struct {
	Status  int    `xml:"-" json:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the gateway answers %d %s", e.Status, e.Code)
	}
	return fmt.Sprintf("the gateway answers %d %s: %s", e.Status, e.Code, e.Message)
}

// ReadError reads an answer with an error: XML, or JSON as of the administration of some gateways.
func ReadError(status int, answer []byte) error {
	e := &Error{}
	if xml.Unmarshal(answer, e) != nil && json.Unmarshal(answer, e) != nil || e.Code == "" {
		code := strings.ReplaceAll(http.StatusText(status), " ", "")
		return &Error{Status: status, Code: code, Message: "without an explanation; is this an S3 gateway?"}
	}
	e.Status = status
	if len(e.Message) > 200 {
		e.Message = e.Message[:200] + "…"
	}
	return e
}

// Error codes that mean something to backends.
const (
	BucketExists   = "BucketAlreadyExists"
	BucketOwned    = "BucketAlreadyOwnedByYou"
	BucketNotEmpty = "BucketNotEmpty"
	NoSuchBucket   = "NoSuchBucket"
	InternalError  = "InternalError"
	noSuchPolicy   = "NoSuchBucketPolicy"
	noSuchUpload   = "NoSuchUpload"
	noSuchKey      = "NoSuchKey"
	quotaExceeded  = "QuotaExceeded"
)

// Is says whether the gateway answered with an error that has one of the codes.
func Is(err error, codes ...string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains(codes, e.Code)
}

// HasCode makes the test of an advice about errors that have one of the codes.
func HasCode(codes ...string) func(error) bool {
	return func(err error) bool { return Is(err, codes...) }
}

// Explain adds what the broker was doing and what the operator can do.
func (c *Client) Explain(doing string, err error) error {
	return services.Explain(doing, err, c.Advice)
}
