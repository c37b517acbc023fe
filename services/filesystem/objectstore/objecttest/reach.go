package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// Reach tries to get from one bucket into another, and into what is the
// administrator's, with requests that no library would let through. Further attacks are run as well.
func Reach(t *testing.T, mine, theirs map[string]any, further ...Attack) {
	me, their, own := Raw(t, mine), Text(t, theirs, "bucket"), Text(t, mine, "bucket")
	for _, a := range append(attacks(own, their), further...) {
		t.Run(a.Name, func(t *testing.T) { Refused(t, me, a.Request) })
	}
	flood(t, me, own, their)
	impersonate(t, mine, theirs)
	listsNothing(t, me, their)
}

// Attack is a request that is to be refused.
type Attack struct {
	Name    string
	Request objectstore.Request
}

func attacks(own, their string) []Attack {
	return []Attack{
		{"list theirs", objectstore.Request{Method: http.MethodGet, Bucket: their}},
		{"list theirs anew", objectstore.Request{Method: http.MethodGet, Bucket: their, Query: Query("list-type=2")}},
		{"list their versions", objectstore.Request{Method: http.MethodGet, Bucket: their, Query: Query("versions")}},
		{"list their uploads", objectstore.Request{Method: http.MethodGet, Bucket: their, Query: Query("uploads")}},
		{"head theirs", objectstore.Request{Method: http.MethodHead, Bucket: their}},
		{"read theirs", objectstore.Request{Method: http.MethodGet, Bucket: their, Key: "secret"}},
		{"head their object", objectstore.Request{Method: http.MethodHead, Bucket: their, Key: "secret"}},
		{"write theirs", objectstore.Request{Method: http.MethodPut, Bucket: their, Key: "secret", Body: []byte("mine")}},
		{"delete theirs", objectstore.Request{Method: http.MethodDelete, Bucket: their, Key: "secret"}},
		{"delete many of theirs", objectstore.Request{
			Method: http.MethodPost, Bucket: their, Query: Query("delete"),
			Body: []byte(`<Delete><Object><Key>secret</Key></Object></Delete>`),
		}},
		{"begin an upload to theirs", objectstore.Request{Method: http.MethodPost, Bucket: their, Key: "secret", Query: Query("uploads")}},
		{"tag theirs", objectstore.Request{
			Method: http.MethodPut, Bucket: their, Key: "secret", Query: Query("tagging"),
			Body: []byte(`<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`),
		}},
		{"copy from theirs", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Key: "copy",
			Header: http.Header{"X-Amz-Copy-Source": {"/" + their + "/secret"}},
		}},
		{"copy from theirs, encoded", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Key: "copy",
			Header: http.Header{"X-Amz-Copy-Source": {their + "%2Fsecret"}},
		}},
		{"copy from theirs by way of mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Key: "copy",
			Header: http.Header{"X-Amz-Copy-Source": {own + "/../" + their + "/secret"}},
		}},
		{"read theirs by way of mine", objectstore.Request{Method: http.MethodGet, Bucket: own, Key: "../" + their + "/secret"}},
		{"move theirs into mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Key: "x",
			Header: http.Header{"X-Amz-Rename-Source": {"/" + their + "/secret"}, "X-Amz-Copy-Source": {"/" + their + "/secret"}},
		}},
		{"their policy", objectstore.Request{Method: http.MethodGet, Bucket: their, Query: Query("policy")}},
		{"my policy", objectstore.Request{Method: http.MethodGet, Bucket: own, Query: Query("policy")}},
		{"a policy of mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Query: Query("policy"),
			Body: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::` + own + `"}]}`),
		}},
		{"no policy at all", objectstore.Request{Method: http.MethodDelete, Bucket: own, Query: Query("policy")}},
		{"an open list of rights", objectstore.Request{Method: http.MethodPut, Bucket: own, Query: Query("acl"), Header: http.Header{"X-Amz-Acl": {"public-read-write"}}}},
		{"rights that overrule mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Query: Query("ownershipControls"),
			Body: []byte(`<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>`),
		}},
		{"my bucket's tags", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Query: Query("tagging"),
			Body: []byte(`<Tagging><TagSet></TagSet></Tagging>`),
		}},
		{"versions of mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Query: Query("versioning"),
			Body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
		}},
		{"locks on mine", objectstore.Request{
			Method: http.MethodPut, Bucket: own, Query: Query("object-lock"),
			Body: []byte(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`),
		}},
		{"delete my bucket", objectstore.Request{Method: http.MethodDelete, Bucket: own}},
		{"delete theirs", objectstore.Request{Method: http.MethodDelete, Bucket: their}},
		{"make another bucket", objectstore.Request{Method: http.MethodPut, Bucket: "suite-another"}},
		{"make theirs again", objectstore.Request{Method: http.MethodPut, Bucket: their}},
	}
}

// Query parses a query.
func Query(text string) url.Values {
	values, _ := url.ParseQuery(text) // the tests' own
	return values
}

// Raw is a client that sends what it is told to, as an application.
func Raw(t *testing.T, values map[string]any) *objectstore.Client {
	at, err := url.Parse(Text(t, values, "endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	return &objectstore.Client{
		URL: at, Region: Text(t, values, "region"),
		AccessKey: Text(t, values, "access_key_id"), SecretKey: services.NewSecret(Text(t, values, "secret_access_key")),
		Transport: httpapi.NewTransport("", 8),
	}
}

// Refused fails t where a request is let through. A list of refusals within
// a success is one, too.
func Refused(t *testing.T, c *objectstore.Client, r objectstore.Request) {
	t.Helper()
	var answer []byte
	err := c.Call(Context(t), r, &answer)
	if err == nil && !bytes.Contains(answer, []byte("<Code>AccessDenied</Code>")) {
		t.Errorf("was let through: %s", answer)
	}
	if e, ok := errors.AsType[*objectstore.Error](err); err != nil && (!ok || e.Status >= 500) {
		t.Errorf("was not refused but failed: %v", err)
	}
}

// flood sends many requests at once. That the other tenant's session goes on is
// looked at by whoever called reach.
func flood(t *testing.T, me *objectstore.Client, own, their string) {
	t.Run("flood", func(t *testing.T) {
		SideBySide(t, 200, func(i int) error {
			err := me.Call(Context(t), objectstore.Request{Method: http.MethodPut, Bucket: own, Key: fmt.Sprint("flood/", i), Body: []byte("x")}, nil)
			if theirs := me.Call(Context(t), objectstore.Request{Method: http.MethodGet, Bucket: their, Key: "secret"}, nil); theirs == nil {
				return errors.New("one of many was let through")
			}
			return err
		})
	})
}

// impersonate uses another tenant's access key with secrets that are not his.
func impersonate(t *testing.T, mine, theirs map[string]any) {
	for name, secret := range map[string]string{"my secret": Text(t, mine, "secret_access_key"), "no secret": ""} {
		t.Run("their access key and "+name, func(t *testing.T) {
			c := Raw(t, theirs)
			c.SecretKey = services.NewSecret(secret)
			Refused(t, c, objectstore.Request{Method: http.MethodGet, Bucket: Text(t, theirs, "bucket"), Key: "secret"})
		})
	}
}

// Anonymous asks for these paths of a gateway without any credentials.
func Anonymous(t *testing.T, endpoint string, paths ...string) {
	for _, path := range paths {
		t.Run("anonymous GET "+path, func(t *testing.T) {
			if status := Fetch(t, endpoint+path); status != http.StatusForbidden {
				t.Errorf("status %d", status)
			}
		})
	}
}

// listsNothing shows that an application sees no bucket's name but its own.
func listsNothing(t *testing.T, me *objectstore.Client, their string) {
	t.Run("list of all buckets", func(t *testing.T) {
		ctx, cancel := context.WithCancel(Context(t))
		defer cancel()
		var answer []byte
		if err := me.Call(ctx, objectstore.Request{Method: http.MethodGet}, &answer); err != nil {
			return // refused altogether
		}
		if bytes.Contains(answer, []byte(their)) {
			t.Errorf("lists another tenant's bucket: %s", answer)
		}
	})
}
