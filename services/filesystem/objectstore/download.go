package objectstore

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services/httpapi"
)

const (
	// stalledFor is how long a download may go on without a byte.
	stalledFor = time.Minute
	// reconnects is how often in a row a download is continued after the connection broke.
	reconnects = 3
)

// download is an object whose content is being read. It is one state of the object, as its
// attributes are.
type download struct {
	attributes
	tagged bool

	ctx      context.Context
	cancel   context.CancelFunc
	client   *Client
	request  Request
	content  io.ReadCloser
	read     int64
	attempts int
}

// download begins to read an object. The error is noSuchKey if the object does not exist.
func (c *Client) download(ctx context.Context, bucket, key string) (*download, error) {
	return c.begin(ctx, http.MethodGet, bucket, key)
}

// attributesOf reads what a copy has of an object beside its content.
func (c *Client) attributesOf(ctx context.Context, bucket, key string) (attributes, error) {
	d, err := c.begin(ctx, http.MethodHead, bucket, key)
	if err != nil {
		return attributes{}, err
	}
	defer func() { _ = d.Close() }()
	if d.tagged {
		d.tags, err = c.readTags(ctx, bucket, key)
	}
	return d.attributes, err
}

// begin makes the first request.
func (c *Client) begin(ctx context.Context, method, bucket, key string) (*download, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &download{ctx: ctx, cancel: cancel, client: c, attributes: attributes{key: key, header: map[string]string{}}}
	// Without the header, net/http decompresses what the application compressed.
	d.request = Request{Method: method, Bucket: bucket, Key: key, Header: http.Header{"Accept-Encoding": {"identity"}}}
	resp, err := d.open() //nolint:bodyclose // Close closes it
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.ContentLength < 0 {
		return nil, errors.Join(errors.New("the gateway does not tell the size of an object"), d.Close())
	}
	tags := resp.Header.Get("X-Amz-Tagging-Count")
	d.size, d.tagged = resp.ContentLength, tags != "" && tags != "0"
	for name, values := range resp.Header {
		if name = strings.ToLower(name); isCopied(name) {
			d.header[name] = strings.Join(values, ",")
		}
	}
	d.etag, d.modified = resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")
	// If the connection breaks, the rest has to be of the same state.
	d.request.Header.Set("If-Match", d.etag)
	if d.modified != "" {
		d.request.Header.Set("If-Unmodified-Since", d.modified)
	}
	return d, nil
}

// open requests the object, or the rest of it.
func (d *download) open() (*http.Response, error) {
	req, err := d.client.signed(d.ctx, d.request)
	if err != nil {
		return nil, err
	}
	alarm := time.AfterFunc(stalledFor, d.cancel)
	defer alarm.Stop()
	resp, err := d.client.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, httpapi.MaxAnswer))
		return nil, errors.Join(ReadError(resp.StatusCode, answer), err)
	}
	d.content = resp.Body
	return resp, nil
}

// Read implements io.Reader. It is io.EOF only after the whole object.
func (d *download) Read(p []byte) (int, error) {
	if d.read == d.size {
		return 0, io.EOF
	}
	alarm := time.AfterFunc(stalledFor, d.cancel)
	n, err := d.content.Read(p[:min(int64(len(p)), d.size-d.read)])
	alarm.Stop()
	if n > 0 {
		d.attempts = 0
	}
	if d.read += int64(n); err == nil || d.read == d.size {
		return n, nil
	}
	if d.ctx.Err() != nil || d.attempts == reconnects {
		return n, fmt.Errorf("read object %s: %w", quoted(d.key), errors.Join(io.ErrUnexpectedEOF, err, d.ctx.Err()))
	}
	d.attempts++
	return n, d.resume()
}

// resume requests what was not read yet.
func (d *download) resume() error {
	_ = d.content.Close()
	d.request.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.read))
	resp, err := d.open() //nolint:bodyclose // as above
	if err != nil {
		d.content = http.NoBody
		return fmt.Errorf("read the rest of object %s, whose size was %d bytes; it may have been replaced or shortened: %w", quoted(d.key), d.size, err)
	}
	if want := fmt.Sprintf("bytes %d-%d/%d", d.read, d.size-1, d.size); resp.Header.Get("Content-Range") != want {
		return fmt.Errorf("read the rest of object %s: the gateway sends the range %q, want %q", quoted(d.key), resp.Header.Get("Content-Range"), want)
	}
	return nil
}

// Close ends the download.
func (d *download) Close() error {
	d.cancel()
	return d.content.Close()
}

// quoted is a tenant's key for an error.
func quoted(key string) string {
	const most = 100
	if len(key) > most {
		return strconv.Quote(key[:most]) + "…"
	}
	return strconv.Quote(key)
}

// Keys returns a page of a bucket's objects with the keys that they have, and where the next page
// begins; "" at the end. A gateway that cannot list a key has U+FFFD in it.
func (c *Client) Keys(ctx context.Context, bucket, from string) (page []Object, next string, err error) {
	query := url.Values{"list-type": {"2"}, "max-keys": {"1000"}, "encoding-type": {"url"}} // XML cannot carry all keys
	if from != "" {
		query.Set("continuation-token", from)
	}
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []Object
		NextContinuationToken string
		EncodingType          string
	}
	if err := c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query}, &answer); err != nil {
		return nil, "", c.Explain("list the bucket's objects", err)
	}
	for i := range answer.Contents {
		if answer.EncodingType != "url" || err != nil {
			break
		}
		answer.Contents[i].Key, err = url.QueryUnescape(answer.Contents[i].Key)
	}
	return answer.Contents, answer.NextContinuationToken, err
}
