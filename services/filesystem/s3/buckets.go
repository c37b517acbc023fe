package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// createBucket makes a bucket of the administrator's. An existing one stays as it is.
func (c *client) createBucket(ctx context.Context, bucket string) error {
	type configuration struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string   `xml:",omitempty"`
		Tags               []tag    `xml:"Tags>Tag"`
	}
	settings := configuration{Tags: mark(false).Tags}
	if c.region != "us-east-1" { // which S3 wants to be left out
		settings.LocationConstraint = c.region
	}
	err := c.call(ctx, request{method: http.MethodPut, bucket: bucket, body: settings}, nil)
	if is(err, bucketExists, bucketOwned) {
		return nil
	}
	return explain("make the bucket", err)
}

// deleteBucket removes a bucket; bucketNotEmpty if it is not empty. An absent one is no error.
func (c *client) deleteBucket(ctx context.Context, bucket string) error {
	err := c.call(ctx, request{method: http.MethodDelete, bucket: bucket}, nil)
	if is(err, noSuchBucket) {
		return nil
	}
	return explain("delete the bucket", err)
}

// ownership is who owns a bucket's objects. Buckets that the gateway made have it; folders do not.
type ownership struct {
	XMLName xml.Name `xml:"OwnershipControls"`
	Owner   string   `xml:"Rule>ObjectOwnership"`
}

// adopt makes a folder a bucket, as if the gateway had made it. A bucket stays as it is.
func (c *client) adopt(ctx context.Context, bucket string) error {
	controls := request{method: http.MethodGet, bucket: bucket, query: url.Values{"ownershipControls": {""}}}
	err := c.call(ctx, controls, &ownership{})
	if !is(err, noOwnership) {
		return explain("ask whose the bucket is", err)
	}
	// This removes the bucket's policy, and so precedes what shows that it was done.
	err = c.command(ctx, "change-bucket-owner", url.Values{"bucket": {bucket}, "owner": {c.accessKey}}, nil, nil)
	if err != nil {
		return explain("make the bucket the administrator's", err)
	}
	if err := c.mark(ctx, bucket, false); err != nil {
		return err
	}
	controls.method, controls.body = http.MethodPut, ownership{Owner: "BucketOwnerEnforced"}
	return explain("make the bucket's objects its owner's", c.call(ctx, controls, nil))
}

// policy returns the text of a bucket's policy, nil if it has none.
func (c *client) policy(ctx context.Context, bucket string) ([]byte, error) {
	var text []byte
	err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: url.Values{"policy": {""}}}, &text)
	if is(err, noSuchPolicy) {
		return nil, nil
	}
	return text, explain("read the bucket's policy", err)
}

// smallPolicy is what fits into every file system's attributes.
const smallPolicy = 3000

// putPolicy replaces a bucket's policy; nil removes it.
func (c *client) putPolicy(ctx context.Context, bucket string, text []byte) error {
	r := request{method: http.MethodPut, bucket: bucket, query: url.Values{"policy": {""}}, body: text}
	if text == nil {
		r.method = http.MethodDelete
	}
	err := c.call(ctx, r, nil)
	if is(err, internalError) && len(text) > smallPolicy {
		err = fmt.Errorf("%w (on ext4 a bucket's attributes have 4 kB: allow fewer bindings in the plan)", err)
	}
	return explain("write the bucket's policy", err)
}

// overTag records whether a bucket is over quota. It is set from the beginning to reserve its
// place in the bucket's attributes, which have little room.
const overTag = "chandler-over"

type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	Tags    []tag    `xml:"TagSet>Tag"`
}

type tag struct{ Key, Value string }

func mark(over bool) tagging {
	return tagging{Tags: []tag{{Key: overTag, Value: strconv.FormatBool(over)}}}
}

// overQuota says whether a bucket is marked as over its quota.
func (c *client) overQuota(ctx context.Context, bucket string) (bool, error) {
	var answer tagging
	err := c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: url.Values{"tagging": {""}}}, &answer)
	if is(err, noSuchTags) {
		return false, nil
	}
	return slices.Contains(answer.Tags, mark(true).Tags[0]), explain("read the bucket's tags", err)
}

// mark marks a bucket as over its quota, or not.
func (c *client) mark(ctx context.Context, bucket string, over bool) error {
	r := request{method: http.MethodPut, bucket: bucket, query: url.Values{"tagging": {""}}, body: mark(over)}
	return explain("mark the bucket", c.call(ctx, r, nil))
}

// object is an object in a list.
type object struct {
	Key  string
	Size int64
}

// objects returns a page of a bucket's objects, and where the next one begins; "" at the end.
func (c *client) objects(ctx context.Context, bucket, from string) (page []object, next string, err error) {
	query := url.Values{"max-keys": {"1000"}}
	if from != "" {
		query.Set("continuation-token", from)
	}
	return c.list(ctx, bucket, query)
}

// first returns the first object whose key has a prefix, if any.
func (c *client) first(ctx context.Context, bucket, prefix string) ([]object, error) {
	page, _, err := c.list(ctx, bucket, url.Values{"max-keys": {"1"}, "prefix": {prefix}})
	return page, err
}

func (c *client) list(ctx context.Context, bucket string, query url.Values) (page []object, next string, err error) {
	query.Set("list-type", "2")
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
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

// uploads returns a page of the uploads of keys after a given one. The gateway cannot continue
// between two uploads of one key.
func (c *client) uploads(ctx context.Context, bucket, after string) (page []upload, more bool, err error) {
	query := url.Values{"uploads": {""}, "max-uploads": {"1000"}}
	if after != "" {
		query.Set("key-marker", after)
	}
	var answer struct {
		XMLName     xml.Name `xml:"ListMultipartUploadsResult"`
		Upload      []upload
		IsTruncated bool
	}
	err = c.call(ctx, request{method: http.MethodGet, bucket: bucket, query: query}, &answer)
	return answer.Upload, answer.IsTruncated && len(answer.Upload) > 0, explain("list the bucket's uploads", err)
}

// uploaded returns the bytes of an upload's parts; none if the upload just ended.
func (c *client) uploaded(ctx context.Context, bucket string, u upload) (bytes int64, err error) {
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

// deleteObjects removes a page of objects and returns how many the gateway did not remove.
func (c *client) deleteObjects(ctx context.Context, bucket string, page []object) (failed int, err error) {
	type key struct{ Key string }
	command := struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []key
	}{Quiet: true}
	for _, o := range page {
		command.Object = append(command.Object, key{o.Key})
	}
	var answer struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Error   []struct{ Code string }
	}
	err = c.call(ctx, request{method: http.MethodPost, bucket: bucket, query: url.Values{"delete": {""}}, body: command}, &answer)
	return len(answer.Error), explain("delete the bucket's objects", err)
}
