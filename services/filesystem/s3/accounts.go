package s3

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// The gateway's administration (Versity S3 Gateway, s3api/admin-router.go).

// command makes one call of the administration.
func (c *client) command(ctx context.Context, name string, query url.Values, body, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = xml.Marshal(body); err != nil {
			return err
		}
	}
	return c.call(ctx, request{method: http.MethodPatch, bucket: name, query: query, body: text, admin: true}, out)
}

// putAccount makes an account, or sets the secret of an existing one.
func (c *client) putAccount(ctx context.Context, accessKey string, secret services.Secret) error {
	type account struct {
		XMLName xml.Name `xml:"Account"`
		Access  string
		Secret  string
		Role    string
	}
	err := c.command(ctx, "create-user", nil, account{Access: accessKey, Secret: secret.Reveal(), Role: "user"}, nil)
	if !is(err, userExists) {
		return explain("make the binding's account", err)
	}
	type properties struct {
		XMLName xml.Name `xml:"MutableProps"`
		Secret  string
		Role    string
	}
	err = c.command(ctx, "update-user", url.Values{"access": {accessKey}}, properties{Secret: secret.Reveal(), Role: "user"}, nil)
	return explain("set the secret of the binding's account", err)
}

// deleteAccount removes an account and its access key. An absent one is not an error.
func (c *client) deleteAccount(ctx context.Context, accessKey string) error {
	err := c.command(ctx, "delete-user", url.Values{"access": {accessKey}}, nil, nil)
	if is(err, userNotFound) {
		return nil
	}
	return explain("remove the binding's account", err)
}

// accessKeys returns the names of all accounts on the gateway.
func (c *client) accessKeys(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName  xml.Name `xml:"ListUserAccountsResult"`
		Accounts []struct{ Access string }
	}
	if err := c.command(ctx, "list-users", nil, nil, &answer); err != nil {
		return nil, explain("list the gateway's accounts", err)
	}
	keys := make([]string, len(answer.Accounts))
	for i, a := range answer.Accounts {
		keys[i] = a.Access
	}
	return keys, nil
}

// buckets returns the names of all buckets on the gateway.
func (c *client) buckets(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName xml.Name `xml:"ListBucketsResult"`
		Buckets []struct{ Name string }
	}
	if err := c.command(ctx, "list-buckets", nil, nil, &answer); err != nil {
		return nil, explain("list the gateway's buckets", err)
	}
	names := make([]string, len(answer.Buckets))
	for i, b := range answer.Buckets {
		names[i] = b.Name
	}
	return names, nil
}
