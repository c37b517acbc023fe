package s3

import (
	"net/http"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

// reach tries what any gateway has to refuse, and the administration of this one.
func reach(t *testing.T, server *testServer, mine, theirs map[string]any) {
	their, own := objecttest.Text(t, theirs, "bucket"), objecttest.Text(t, mine, "bucket")
	objecttest.Reach(t, mine, theirs, []objecttest.Attack{
		{Name: "write theirs by way of mine", Request: objectstore.Request{Method: http.MethodPut, Bucket: own, Key: "../" + their + "/secret", Body: []byte("mine")}},
		{Name: "write outside of all buckets", Request: objectstore.Request{Method: http.MethodPut, Bucket: own, Key: "../../stray", Body: []byte("mine")}},
		{Name: "read the accounts", Request: objectstore.Request{Method: http.MethodGet, Bucket: own, Key: "../../accounts/users.json"}},
		{Name: "list the accounts", Request: objectstore.Request{Method: http.MethodPatch, Bucket: "list-users"}},
		{Name: "list the buckets", Request: objectstore.Request{Method: http.MethodPatch, Bucket: "list-buckets"}},
		{Name: "become an administrator", Request: objectstore.Request{
			Method: http.MethodPatch, Bucket: "update-user", Query: objecttest.Query("access=" + objecttest.Text(t, mine, "access_key_id")),
			Body: []byte(`<MutableProps><Role>admin</Role></MutableProps>`),
		}},
		{Name: "make an administrator", Request: objectstore.Request{
			Method: http.MethodPatch, Bucket: "create-user",
			Body: []byte(`<Account><Access>intruder</Access><Secret>intruder</Secret><Role>admin</Role></Account>`),
		}},
		{Name: "delete their account", Request: objectstore.Request{Method: http.MethodPatch, Bucket: "delete-user", Query: objecttest.Query("access=" + objecttest.Text(t, theirs, "access_key_id"))}},
		{Name: "own their bucket", Request: objectstore.Request{Method: http.MethodPatch, Bucket: "change-bucket-owner", Query: objecttest.Query("bucket=" + their + "&owner=" + objecttest.Text(t, mine, "access_key_id"))}},
	}...)
	objecttest.Anonymous(t, server.Endpoint(), "/", "/"+their, "/"+their+"/secret", "/"+their+"?policy", "/"+their+"?acl")
}
