package objectstore

import (
	"net/url"
	"regexp"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// CredentialType is "type" in the credentials.
const CredentialType = "s3"

// Ports returns the schemes of endpoints with their default ports.
func Ports() map[string]uint16 { return map[string]uint16{"http": 80, "https": 443} }

var regionRule = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// IsRegion says whether a text can be a region's name.
func IsRegion(text string) bool { return regionRule.MatchString(text) }

// Endpoint is where applications find the gateway.
type Endpoint struct {
	endpoint.Server
	url    *url.URL
	region string
}

// NewEndpoint makes the endpoint at a URL from endpoint.Parse. ca comes from package cafile.
func NewEndpoint(u *url.URL, region, ca string) Endpoint {
	_, at, _ := endpoint.Parse(u.String(), Ports()) // u was made by Parse
	at.CA = ca
	return Endpoint{at, u, region}
}

// BucketCredentials are what an application reads. Addressing the bucket by host would need DNS.
func (e Endpoint) BucketCredentials(bucket, accessKey string, secretKey services.Secret) services.Credentials {
	return e.Credentials(CredentialType, "tcp", map[string]any{
		"endpoint":          e.url.String(),
		"tls":               e.url.Scheme == "https",
		"region":            e.region,
		"bucket":            bucket,
		"access_key_id":     accessKey,
		"secret_access_key": secretKey.Reveal(),
		"path_style":        true,
		"uri":               e.uri(bucket, accessKey, secretKey),
	})
}

// uri is s3://key:secret@host:port/bucket?region=...&tls=...
func (e Endpoint) uri(bucket, accessKey string, secretKey services.Secret) string {
	u := url.URL{
		Scheme:   "s3",
		User:     url.UserPassword(accessKey, secretKey.Reveal()),
		Host:     e.Address(),
		Path:     "/" + bucket,
		RawQuery: url.Values{"region": {e.region}, "tls": {strconv.FormatBool(e.url.Scheme == "https")}}.Encode(),
	}
	return u.String()
}
