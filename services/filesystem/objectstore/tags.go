package objectstore

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// tagging are an object's tags (Amazon S3 API reference, "Tagging").
type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	Tags    []tag    `xml:"TagSet>Tag"`
}

type tag struct{ Key, Value string }

func tagsOf(bucket, key string) Request {
	return Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: url.Values{"tagging": {""}}}
}

// readTags returns an object's tags in the form of the header x-amz-tagging.
func (c *Client) readTags(ctx context.Context, bucket, key string) (string, error) {
	var answer tagging
	if err := c.Call(ctx, tagsOf(bucket, key), &answer); err != nil {
		return "", err
	}
	tags := url.Values{}
	for _, t := range answer.Tags {
		tags.Add(t.Key, t.Value)
	}
	return strings.ReplaceAll(tags.Encode(), "+", "%20"), nil // not all gateways read + as a space
}

// putTags gives an object tags, which have the form of the header x-amz-tagging.
func (u *uploads) putTags(key, tags string) error {
	values, err := url.ParseQuery(tags)
	if err != nil {
		return errDamaged
	}
	var body tagging
	for k, all := range values {
		for _, value := range all {
			body.Tags = append(body.Tags, tag{k, value})
		}
	}
	slices.SortFunc(body.Tags, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
	r := tagsOf(u.bucket, key)
	r.Method, r.Body = http.MethodPut, body
	return u.call(r, nil, "write the tags of object "+quoted(key))
}
