package s3

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// client calls the gateway as its administrator.
type client struct {
	*objectstore.Client
	admin *objectstore.Client // at the address of the administration
}

func newClient(at, admin *url.URL, c Config, transport http.RoundTripper) *client {
	s3 := objectstore.Client{
		URL: at, Region: c.Region, AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, Transport: transport, Advice: advice(),
	}
	atAdmin := s3
	atAdmin.URL = admin
	return &client{&s3, &atAdmin}
}

// Error codes that mean something to this package.
const (
	noSuchTags      = "NoSuchTagSet"
	noOwnership     = "OwnershipControlsNotFoundError"
	malformedPolicy = "MalformedPolicy"
	noSpace         = "NoSpaceLeftOnDevice"
	userExists      = "XAdminUserExists"
	userNotFound    = "XAdminUserNotFound"
)

// advice is what the operator can do about the gateway's errors.
func advice() []services.Advice {
	return []services.Advice{
		{About: objectstore.HasCode("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminAccessDenied"),
			Text: "check that access_key_id and secret_access_key are an account with the role admin, and that region is the gateway's"},
		{About: objectstore.HasCode(noSpace), Text: "the gateway's disk is full; make room on it"},
		{About: objectstore.HasCode(objectstore.InternalError), Text: "the gateway failed; its log says why, such as a full disk"},
	}
}

// command makes one call of the administration (Versity S3 Gateway, s3api/admin-router.go).
func (c *client) command(ctx context.Context, name string, query url.Values, body, out any) error {
	r := objectstore.Request{Method: http.MethodPatch, Bucket: name, Query: query, Body: body, Reads: strings.HasPrefix(name, "list-")}
	return c.admin.Call(ctx, r, out)
}

// putAccount makes an account, or sets the secret of an existing one.
func (c *client) putAccount(ctx context.Context, accessKey string, secret services.Secret) error {
	type account struct {
		XMLName xml.Name
		Access  string `xml:",omitempty"`
		Secret  string
		Role    string
	}
	created := account{XMLName: xml.Name{Local: "Account"}, Access: accessKey, Secret: secret.Reveal(), Role: "user"}
	err := c.command(ctx, "create-user", nil, created, nil)
	if !objectstore.Is(err, userExists) {
		return c.Explain("make the binding's account", err)
	}
	changes := account{XMLName: xml.Name{Local: "MutableProps"}, Secret: secret.Reveal(), Role: "user"}
	err = c.command(ctx, "update-user", url.Values{"access": {accessKey}}, changes, nil)
	return c.Explain("set the secret of the binding's account", err)
}

// deleteAccount removes an account and its access key. An absent one is not an error.
func (c *client) deleteAccount(ctx context.Context, accessKey string) error {
	err := c.command(ctx, "delete-user", url.Values{"access": {accessKey}}, nil, nil)
	if objectstore.Is(err, userNotFound) {
		return nil
	}
	return c.Explain("remove the binding's account", err)
}

// accessKeys returns the names of all accounts on the gateway.
func (c *client) accessKeys(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName xml.Name `xml:"ListUserAccountsResult"`
		Names   []string `xml:"Accounts>Access"`
	}
	err := c.command(ctx, "list-users", nil, nil, &answer)
	return answer.Names, c.Explain("list the gateway's accounts", err)
}

// buckets returns the names of all buckets on the gateway.
func (c *client) buckets(ctx context.Context) ([]string, error) {
	var answer struct {
		XMLName xml.Name `xml:"ListBucketsResult"`
		Names   []string `xml:"Buckets>Name"`
	}
	err := c.command(ctx, "list-buckets", nil, nil, &answer)
	return answer.Names, c.Explain("list the gateway's buckets", err)
}
