package objectstore

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
)

// DeleteBucket removes a bucket, and succeeds if the bucket is absent. If it contains objects, the error is BucketNotEmpty.
func (c *Client) DeleteBucket(ctx context.Context, bucket string) error {
	err := c.Call(ctx, Request{Method: http.MethodDelete, Bucket: bucket}, nil)
	if Is(err, NoSuchBucket) {
		return nil
	}
	return c.Explain("delete the bucket", err)
}

// Policy returns the text of a bucket's policy, nil if it has none.
func (c *Client) Policy(ctx context.Context, bucket string) ([]byte, error) {
	var text []byte
	err := c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"policy": {""}}}, &text)
	if Is(err, noSuchPolicy) {
		return nil, nil
	}
	return text, c.Explain("read the bucket's policy", err)
}

// PutPolicy replaces a bucket's policy; nil removes it.
func (c *Client) PutPolicy(ctx context.Context, bucket string, text []byte) error {
	r := Request{Method: http.MethodPut, Bucket: bucket, Query: url.Values{"policy": {""}}, Body: text}
	if text == nil {
		r.Method = http.MethodDelete
	}
	return c.Explain("write the bucket's policy", c.Call(ctx, r, nil))
}

// Object is an object in a list.
type Object struct {
	Key  string
	Size int64
	// VersionID is set in a list of versions.
	VersionID string `xml:"VersionId"`
}

// Objects returns a page of a bucket's objects, and where the next one begins; "" at the end.
func (c *Client) Objects(ctx context.Context, bucket, from string) (page []Object, next string, err error) {
	query := url.Values{"max-keys": {"1000"}}
	if from != "" {
		query.Set("continuation-token", from)
	}
	return c.list(ctx, bucket, query)
}

// First returns the first object whose key has a prefix, if any.
func (c *Client) First(ctx context.Context, bucket, prefix string) ([]Object, error) {
	page, _, err := c.list(ctx, bucket, url.Values{"max-keys": {"1"}, "prefix": {prefix}})
	return page, err
}

func (c *Client) list(ctx context.Context, bucket string, query url.Values) (page []Object, next string, err error) {
	query.Set("list-type", "2")
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []Object
		NextContinuationToken string
	}
	err = c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query}, &answer)
	return answer.Contents, answer.NextContinuationToken, c.Explain("list the bucket's objects", err)
}

// Upload is an upload in parts that is not completed.
type Upload struct {
	Key      string
	UploadID string `xml:"UploadId"`
}

// Uploads returns a page of the uploads of keys after a given one; more says that there are more.
func (c *Client) Uploads(ctx context.Context, bucket, after string) (page []Upload, more bool, err error) {
	query := url.Values{"uploads": {""}, "max-uploads": {"1000"}}
	if after != "" {
		query.Set("key-marker", after)
	}
	var answer struct {
		XMLName     xml.Name `xml:"ListMultipartUploadsResult"`
		Upload      []Upload
		IsTruncated bool
	}
	err = c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query}, &answer)
	return answer.Upload, answer.IsTruncated && len(answer.Upload) > 0, c.Explain("list the bucket's uploads", err)
}

// Uploaded returns the bytes of an upload's parts; none if the upload just ended.
func (c *Client) Uploaded(ctx context.Context, bucket string, u Upload) (bytes int64, err error) {
	marker := ""
	for {
		query := url.Values{"uploadId": {u.UploadID}, "max-parts": {"1000"}}
		if marker != "" {
			query.Set("part-number-marker", marker)
		}
		var answer struct {
			XMLName              xml.Name `xml:"ListPartsResult"`
			Part                 []struct{ Size int64 }
			IsTruncated          bool
			NextPartNumberMarker string
		}
		err := c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: u.Key, Query: query}, &answer)
		if Is(err, noSuchUpload) {
			return 0, nil
		}
		if err != nil {
			return 0, c.Explain("list an upload's parts", err)
		}
		for _, p := range answer.Part {
			bytes += p.Size
		}
		if !answer.IsTruncated || answer.NextPartNumberMarker == marker {
			return bytes, nil
		}
		marker = answer.NextPartNumberMarker
	}
}

// DeleteObjects removes a page of objects and returns how many the gateway did not remove.
func (c *Client) DeleteObjects(ctx context.Context, bucket string, page []Object) (failed int, err error) {
	type key struct {
		Key       string
		VersionID string `xml:"VersionId,omitempty"`
	}
	command := struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []key
	}{Quiet: true}
	for _, o := range page {
		command.Object = append(command.Object, key{o.Key, o.VersionID})
	}
	var answer struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Error   []struct{ Code string }
	}
	err = c.Call(ctx, Request{Method: http.MethodPost, Bucket: bucket, Query: url.Values{"delete": {""}}, Body: command}, &answer)
	return len(answer.Error), c.Explain("delete the bucket's objects", err)
}

// Versions returns the first page of all versions of a bucket's objects, and of delete markers.
func (c *Client) Versions(ctx context.Context, bucket string) (page []Object, err error) {
	// Keys are encoded, because XML cannot carry all of them.
	query := url.Values{"versions": {""}, "max-keys": {"1000"}, "encoding-type": {"url"}}
	var answer struct {
		XMLName      xml.Name `xml:"ListVersionsResult"`
		Version      []Object
		DeleteMarker []Object
	}
	err = c.Call(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query}, &answer)
	page = append(answer.Version, answer.DeleteMarker...)
	for i := range page {
		if err == nil {
			page[i].Key, err = url.QueryUnescape(page[i].Key)
		}
	}
	return page, c.Explain("list the versions of the bucket's objects", err)
}

// AbortUpload ends an upload and deletes its parts. One that just ended is not an error.
func (c *Client) AbortUpload(ctx context.Context, bucket string, u Upload) error {
	err := c.Call(ctx, Request{Method: http.MethodDelete, Bucket: bucket, Key: u.Key, Query: url.Values{"uploadId": {u.UploadID}}}, nil)
	if Is(err, noSuchUpload) {
		return nil
	}
	return c.Explain("end an unfinished upload", err)
}
