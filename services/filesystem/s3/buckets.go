package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// createBucket makes a bucket of the administrator's. An existing one stays as it is.
func (c *client) createBucket(ctx context.Context, bucket string) error {
	type configuration struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string   `xml:",omitempty"`
		Tags               []tag    `xml:"Tags>Tag"`
	}
	settings := configuration{Tags: mark(false).Tags}
	if c.Region != "us-east-1" { // which S3 wants to be left out
		settings.LocationConstraint = c.Region
	}
	err := c.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: bucket, Body: settings}, nil)
	if objectstore.Is(err, objectstore.BucketExists, objectstore.BucketOwned) {
		return nil
	}
	return c.Explain("make the bucket", err)
}

// ownership is who owns a bucket's objects. Buckets that the gateway made have it; folders do not.
type ownership struct {
	XMLName xml.Name `xml:"OwnershipControls"`
	Owner   string   `xml:"Rule>ObjectOwnership"`
}

// adopt makes a folder a bucket, as if the gateway had made it. A bucket stays as it is.
func (c *client) adopt(ctx context.Context, bucket string) error {
	controls := objectstore.Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"ownershipControls": {""}}}
	err := c.Call(ctx, controls, &ownership{})
	if !objectstore.Is(err, noOwnership) {
		return c.Explain("ask whose the bucket is", err)
	}
	// This removes the bucket's policy, and so precedes what shows that it was done.
	err = c.command(ctx, "change-bucket-owner", url.Values{"bucket": {bucket}, "owner": {c.AccessKey}}, nil, nil)
	if err != nil {
		return c.Explain("make the bucket the administrator's", err)
	}
	if err := c.mark(ctx, bucket, false); err != nil {
		return err
	}
	controls.Method, controls.Body = http.MethodPut, ownership{Owner: "BucketOwnerEnforced"}
	return c.Explain("make the bucket's objects its owner's", c.Call(ctx, controls, nil))
}

// smallPolicy is what fits into every file system's attributes.
const smallPolicy = 3000

// putPolicy replaces a bucket's policy; nil removes it.
func (c *client) putPolicy(ctx context.Context, bucket string, text []byte) error {
	err := c.PutPolicy(ctx, bucket, text)
	if objectstore.Is(err, objectstore.InternalError) && len(text) > smallPolicy {
		err = fmt.Errorf("%w (on ext4 a bucket's attributes have 4 kB: allow fewer bindings in the plan)", err)
	}
	return err
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
	err := c.Call(ctx, objectstore.Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"tagging": {""}}}, &answer)
	if objectstore.Is(err, noSuchTags) {
		return false, nil
	}
	return slices.Contains(answer.Tags, mark(true).Tags[0]), c.Explain("read the bucket's tags", err)
}

// mark marks a bucket as over its quota, or not.
func (c *client) mark(ctx context.Context, bucket string, over bool) error {
	r := objectstore.Request{Method: http.MethodPut, Bucket: bucket, Query: url.Values{"tagging": {""}}, Body: mark(over)}
	return c.Explain("mark the bucket", c.Call(ctx, r, nil))
}
