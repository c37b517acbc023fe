package s3

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
)

// createBucket makes a bucket of the administrator's. One that is there already
// is no error.
func (c *client) createBucket(ctx context.Context, bucket string) error {
	type configuration struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
	}
	var body []byte
	if c.region != "us-east-1" { // which S3 wants to be left out
		var err error
		if body, err = xml.Marshal(configuration{LocationConstraint: c.region}); err != nil {
			return err
		}
	}
	err := c.call(ctx, request{method: http.MethodPut, bucket: bucket, body: body}, nil)
	if is(err, bucketExists, bucketOwned) {
		return nil
	}
	return explain("make the bucket", err)
}

// deleteBucket removes a bucket without objects. What is absent already is no
// error; one that is not empty is bucketNotEmpty.
func (c *client) deleteBucket(ctx context.Context, bucket string) error {
	err := c.call(ctx, request{method: http.MethodDelete, bucket: bucket}, nil)
	if is(err, noSuchBucket) {
		return nil
	}
	return explain("delete the bucket", err)
}

// owned says whether a bucket has an owner. One that is a mere folder has none.
func (c *client) owned(ctx context.Context, bucket string) (bool, error) {
	var answer struct {
		Owner struct{ ID string }
	}
	err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: url.Values{"acl": {""}}}, &answer)
	return answer.Owner.ID != "", explain("ask for the bucket's owner", err)
}

// policy returns the text of a bucket's policy, nil where it has none.
func (c *client) policy(ctx context.Context, bucket string) ([]byte, error) {
	var text []byte
	err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: url.Values{"policy": {""}}}, &text)
	if is(err, noSuchPolicy) {
		return nil, nil
	}
	return text, explain("read the bucket's policy", err)
}

// putPolicy replaces a bucket's policy; nil takes it away.
func (c *client) putPolicy(ctx context.Context, bucket string, text []byte) error {
	r := request{method: http.MethodPut, bucket: bucket, query: url.Values{"policy": {""}}, body: text}
	if text == nil {
		r.method = http.MethodDelete
	}
	return explain("write the bucket's policy", c.call(ctx, r, nil))
}

// The tag on a bucket whose limits are exceeded.
const overTag = "chandler-over"

type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	Tags    []tag    `xml:"TagSet>Tag"`
}

type tag struct{ Key, Value string }

// over says whether a bucket is marked as one whose limits are exceeded.
func (c *client) over(ctx context.Context, bucket string) (bool, error) {
	var answer tagging
	err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: url.Values{"tagging": {""}}}, &answer)
	if is(err, noSuchTags) {
		return false, nil
	}
	for _, t := range answer.Tags {
		if t.Key == overTag {
			return true, nil
		}
	}
	return false, explain("read the bucket's tags", err)
}

// mark marks a bucket as one whose limits are exceeded, or takes the mark away.
func (c *client) mark(ctx context.Context, bucket string, over bool) error {
	r := request{method: http.MethodDelete, bucket: bucket, query: url.Values{"tagging": {""}}}
	if over {
		text, err := xml.Marshal(tagging{Tags: []tag{{Key: overTag, Value: "true"}}})
		if err != nil {
			return err
		}
		r.method, r.body = http.MethodPut, text
	}
	return explain("mark the bucket", c.call(ctx, r, nil))
}

// object is an object as a list of them tells.
type object struct {
	Key  string
	Size int64
}

// objects returns a page of a bucket's objects, and where the next one begins;
// "" where there is none.
func (c *client) objects(ctx context.Context, bucket, from string) (page []object, next string, err error) {
	query := url.Values{"list-type": {"2"}, "max-keys": {"1000"}}
	if from != "" {
		query.Set("continuation-token", from)
	}
	var answer struct {
		Contents              []object
		NextContinuationToken string
	}
	err = c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: query}, &answer)
	return answer.Contents, answer.NextContinuationToken, explain("list the bucket's objects", err)
}

// upload is an upload in parts that is not completed.
type upload struct {
	Key      string
	UploadID string `xml:"UploadId"`
}

// uploads returns a page of a bucket's uploads, those after a given one.
func (c *client) uploads(ctx context.Context, bucket string, after upload) (page []upload, more bool, err error) {
	query := url.Values{"uploads": {""}, "max-uploads": {"1000"}}
	if after.Key != "" {
		query.Set("key-marker", after.Key)
		query.Set("upload-id-marker", after.UploadID)
	}
	var answer struct {
		Upload      []upload
		IsTruncated bool
	}
	err = c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: query}, &answer)
	return answer.Upload, answer.IsTruncated && len(answer.Upload) > 0, explain("list the bucket's uploads", err)
}

// uploaded returns the bytes of an upload's parts. One that has just been
// completed or aborted has none.
func (c *client) uploaded(ctx context.Context, bucket string, u upload) (bytes int64, err error) {
	marker := ""
	for {
		query := url.Values{"uploadId": {u.UploadID}, "max-parts": {"1000"}}
		if marker != "" {
			query.Set("part-number-marker", marker)
		}
		var answer struct {
			Part                 []struct{ Size int64 }
			IsTruncated          bool
			NextPartNumberMarker string
		}
		err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, key: u.Key, query: query}, &answer)
		if is(err, noSuchUpload) {
			return 0, nil
		}
		if err != nil {
			return 0, explain("list an upload's parts", err)
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

// deleteObjects removes a page of objects in one call. It returns those that
// the gateway did not remove.
func (c *client) deleteObjects(ctx context.Context, bucket string, page []object) (failed int, err error) {
	type key struct{ Key string }
	type command struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []key
	}
	all := command{Quiet: true}
	for _, o := range page {
		all.Object = append(all.Object, key{o.Key})
	}
	text, err := xml.Marshal(all)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Error []struct{ Code string }
	}
	err = c.call(ctx, request{method: http.MethodPost, bucket: bucket, query: url.Values{"delete": {""}}, body: text}, &answer)
	return len(answer.Error), explain("delete the bucket's objects", err)
}
