package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// reach tries to get from one bucket into another, and into what is the
// administrator's, with requests that no library would let through.
func reach(t *testing.T, server *testServer, mine, theirs map[string]any) {
	me, their, own := raw(t, mine), text(t, theirs, "bucket"), text(t, mine, "bucket")
	for _, c := range []struct {
		name string
		r    request
	}{
		{"list theirs", request{method: http.MethodGet, bucket: their}},
		{"list theirs anew", request{method: http.MethodGet, bucket: their, query: query("list-type=2")}},
		{"list their versions", request{method: http.MethodGet, bucket: their, query: query("versions")}},
		{"list their uploads", request{method: http.MethodGet, bucket: their, query: query("uploads")}},
		{"head theirs", request{method: http.MethodHead, bucket: their}},
		{"read theirs", request{method: http.MethodGet, bucket: their, key: "secret"}},
		{"head their object", request{method: http.MethodHead, bucket: their, key: "secret"}},
		{"write theirs", request{method: http.MethodPut, bucket: their, key: "secret", body: []byte("mine")}},
		{"delete theirs", request{method: http.MethodDelete, bucket: their, key: "secret"}},
		{"delete many of theirs", request{
			method: http.MethodPost, bucket: their, query: query("delete"),
			body: []byte(`<Delete><Object><Key>secret</Key></Object></Delete>`),
		}},
		{"begin an upload to theirs", request{method: http.MethodPost, bucket: their, key: "secret", query: query("uploads")}},
		{"tag theirs", request{
			method: http.MethodPut, bucket: their, key: "secret", query: query("tagging"),
			body: []byte(`<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`),
		}},
		{"copy from theirs", request{
			method: http.MethodPut, bucket: own, key: "copy",
			header: http.Header{"X-Amz-Copy-Source": {"/" + their + "/secret"}},
		}},
		{"copy from theirs, encoded", request{
			method: http.MethodPut, bucket: own, key: "copy",
			header: http.Header{"X-Amz-Copy-Source": {their + "%2Fsecret"}},
		}},
		{"copy from theirs by way of mine", request{
			method: http.MethodPut, bucket: own, key: "copy",
			header: http.Header{"X-Amz-Copy-Source": {own + "/../" + their + "/secret"}},
		}},
		{"read theirs by way of mine", request{method: http.MethodGet, bucket: own, key: "../" + their + "/secret"}},
		{"write theirs by way of mine", request{method: http.MethodPut, bucket: own, key: "../" + their + "/secret", body: []byte("mine")}},
		{"write outside of all buckets", request{method: http.MethodPut, bucket: own, key: "../../stray", body: []byte("mine")}},
		{"read the accounts", request{method: http.MethodGet, bucket: own, key: "../../accounts/users.json"}},
		{"move theirs into mine", request{
			method: http.MethodPut, bucket: own, key: "x",
			header: http.Header{"X-Amz-Rename-Source": {"/" + their + "/secret"}, "X-Amz-Copy-Source": {"/" + their + "/secret"}},
		}},
		{"their policy", request{method: http.MethodGet, bucket: their, query: query("policy")}},
		{"my policy", request{method: http.MethodGet, bucket: own, query: query("policy")}},
		{"a policy of mine", request{
			method: http.MethodPut, bucket: own, query: query("policy"),
			body: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::` + own + `"}]}`),
		}},
		{"no policy at all", request{method: http.MethodDelete, bucket: own, query: query("policy")}},
		{"an open list of rights", request{method: http.MethodPut, bucket: own, query: query("acl"), header: http.Header{"X-Amz-Acl": {"public-read-write"}}}},
		{"rights that overrule mine", request{
			method: http.MethodPut, bucket: own, query: query("ownershipControls"),
			body: []byte(`<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>`),
		}},
		{"my bucket's tags", request{
			method: http.MethodPut, bucket: own, query: query("tagging"),
			body: []byte(`<Tagging><TagSet></TagSet></Tagging>`),
		}},
		{"versions of mine", request{
			method: http.MethodPut, bucket: own, query: query("versioning"),
			body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
		}},
		{"locks on mine", request{
			method: http.MethodPut, bucket: own, query: query("object-lock"),
			body: []byte(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`),
		}},
		{"delete my bucket", request{method: http.MethodDelete, bucket: own}},
		{"delete theirs", request{method: http.MethodDelete, bucket: their}},
		{"make another bucket", request{method: http.MethodPut, bucket: "suite-another"}},
		{"make theirs again", request{method: http.MethodPut, bucket: their}},
		{"list the accounts", request{method: http.MethodPatch, bucket: "list-users"}},
		{"list the buckets", request{method: http.MethodPatch, bucket: "list-buckets"}},
		{"become an administrator", request{
			method: http.MethodPatch, bucket: "update-user", query: query("access=" + text(t, mine, "access_key_id")),
			body: []byte(`<MutableProps><Role>admin</Role></MutableProps>`),
		}},
		{"make an administrator", request{
			method: http.MethodPatch, bucket: "create-user",
			body: []byte(`<Account><Access>intruder</Access><Secret>intruder</Secret><Role>admin</Role></Account>`),
		}},
		{"delete their account", request{method: http.MethodPatch, bucket: "delete-user", query: query("access=" + text(t, theirs, "access_key_id"))}},
		{"own their bucket", request{method: http.MethodPatch, bucket: "change-bucket-owner", query: query("bucket=" + their + "&owner=" + text(t, mine, "access_key_id"))}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, me, c.r) })
	}
	flood(t, me, own, their)
	impersonate(t, mine, theirs)
	anonymous(t, server, their)
	listsNothing(t, me, their)
}

func query(text string) url.Values {
	values, _ := url.ParseQuery(text) // the tests' own
	return values
}

// raw is a client that sends what it is told to, as an application.
func raw(t *testing.T, values map[string]any) *client {
	endpoint := parsed(t, text(t, values, "endpoint"))
	return &client{
		endpoint: endpoint, admin: endpoint, region: text(t, values, "region"),
		accessKey: text(t, values, "access_key_id"), secretKey: services.NewSecret(text(t, values, "secret_access_key")),
		transport: httpapi.NewTransport("", 8),
	}
}

// refused fails t where a request is let through. A list of refusals within
// a success is one, too.
func refused(t *testing.T, c *client, r request) {
	t.Helper()
	var answer []byte
	err := c.call(testContext(t), r, &answer)
	if err == nil && !bytes.Contains(answer, []byte("<Code>AccessDenied</Code>")) {
		t.Errorf("was let through: %s", answer)
	}
	if e, ok := errors.AsType[*apiError](err); err != nil && (!ok || e.Status >= 500) {
		t.Errorf("was not refused but failed: %v", err)
	}
}

// flood sends many requests at once. That the other tenant's session goes on is
// looked at by whoever called reach.
func flood(t *testing.T, me *client, own, their string) {
	t.Run("flood", func(t *testing.T) {
		sideBySide(t, 200, func(i int) error {
			err := me.call(testContext(t), request{method: http.MethodPut, bucket: own, key: fmt.Sprint("flood/", i), body: []byte("x")}, nil)
			if theirs := me.call(testContext(t), request{method: http.MethodGet, bucket: their, key: "secret"}, nil); theirs == nil {
				return errors.New("one of many was let through")
			}
			return err
		})
	})
}

// impersonate uses another tenant's access key with secrets that are not his.
func impersonate(t *testing.T, mine, theirs map[string]any) {
	for name, secret := range map[string]string{"my secret": text(t, mine, "secret_access_key"), "no secret": ""} {
		t.Run("their access key and "+name, func(t *testing.T) {
			c := raw(t, theirs)
			c.secretKey = services.NewSecret(secret)
			refused(t, c, request{method: http.MethodGet, bucket: text(t, theirs, "bucket"), key: "secret"})
		})
	}
}

// anonymous asks without any credentials.
func anonymous(t *testing.T, server *testServer, their string) {
	for _, path := range []string{"/", "/" + their, "/" + their + "/secret", "/" + their + "?policy", "/" + their + "?acl"} {
		t.Run("anonymous GET "+strings.ReplaceAll(path, their, "theirs"), func(t *testing.T) {
			req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, server.Endpoint()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				answer, _ := io.ReadAll(resp.Body)
				t.Errorf("%s: %s", resp.Status, answer)
			}
		})
	}
}

// listsNothing shows that an application sees no bucket's name but its own.
func listsNothing(t *testing.T, me *client, their string) {
	t.Run("list of all buckets", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		var answer []byte
		if err := me.call(ctx, request{method: http.MethodGet}, &answer); err != nil {
			return // refused altogether
		}
		if bytes.Contains(answer, []byte(their)) {
			t.Errorf("lists another tenant's bucket: %s", answer)
		}
	})
}
