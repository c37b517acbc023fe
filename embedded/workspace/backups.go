package workspace

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// gatewayBackend is the backend whose gateway also stores the backups.
const gatewayBackend = "filesystem/s3"

// backupsName is the bucket of the backups, and the account that owns it. No tenant's bucket or
// account has such a name.
const backupsName = "chandler-backups"

// gateway is what prepareBackups needs to know of an S3 gateway.
type gateway interface {
	Endpoint() string
	Region() string
	AccessKeyID() string
	SecretAccessKey() string
}

// prepareBackups makes an account on the gateway, and a bucket that only it can use, as far as they do
// not exist. It returns the variables by which the catalog finds them.
func prepareBackups(ctx context.Context, g gateway, secret string) (map[string]string, error) {
	at, err := url.Parse(g.Endpoint())
	if err != nil {
		return nil, err
	}
	transport := httpapi.NewTransport("", 1)
	defer transport.CloseIdleConnections()
	client := objectstore.Client{
		URL: at, Region: g.Region(), AccessKey: g.AccessKeyID(), SecretKey: services.NewSecret(g.SecretAccessKey()), Transport: transport,
	}
	if err := putAccount(ctx, client, secret); err != nil {
		return nil, fmt.Errorf("make the account of the backups: %w", err)
	}
	err = client.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: backupsName}, nil)
	if err != nil && !objectstore.Is(err, objectstore.BucketExists, objectstore.BucketOwned) {
		return nil, fmt.Errorf("make the bucket of the backups: %w", err)
	}
	owner := url.Values{"bucket": {backupsName}, "owner": {backupsName}}
	if err := client.Call(ctx, objectstore.Request{Method: http.MethodPatch, Bucket: "change-bucket-owner", Query: owner}, nil); err != nil {
		return nil, fmt.Errorf("give the bucket of the backups to its account: %w", err)
	}
	return map[string]string{
		catalog.BackupVariables + "ENDPOINT": g.Endpoint(), catalog.BackupVariables + "BUCKET": backupsName,
		catalog.BackupVariables + "REGION":        g.Region(),
		catalog.BackupVariables + "ACCESS_KEY_ID": backupsName, catalog.BackupVariables + "SECRET_ACCESS_KEY": secret,
	}, nil
}

// putAccount makes the account, or sets the secret of an existing one (Versity S3 Gateway,
// s3api/admin-router.go).
func putAccount(ctx context.Context, client objectstore.Client, secret string) error {
	type account struct {
		XMLName xml.Name
		Access  string `xml:",omitempty"`
		Secret  string
		Role    string
	}
	made := account{xml.Name{Local: "Account"}, backupsName, secret, "user"}
	err := client.Call(ctx, objectstore.Request{Method: http.MethodPatch, Bucket: "create-user", Body: made}, nil)
	if !objectstore.Is(err, "XAdminUserExists") {
		return err
	}
	changed := account{xml.Name{Local: "MutableProps"}, "", secret, "user"}
	query := url.Values{"access": {backupsName}}
	return client.Call(ctx, objectstore.Request{Method: http.MethodPatch, Bucket: "update-user", Query: query, Body: changed}, nil)
}
