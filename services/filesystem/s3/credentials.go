package s3

import (
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// clientEndpoint is where applications find the gateway.
type clientEndpoint struct {
	endpoint.Server
	url    *url.URL
	region string
}

func newClientEndpoint(u *url.URL, region, ca string) clientEndpoint {
	_, at, _ := endpoint.Parse(u.String(), ports) // u was made by Parse
	at.CA = ca
	return clientEndpoint{at, u, region}
}

// credentials are what a binding's application reads. The bucket is addressed by path:
// as a part of the host's name it would need DNS of its own.
func (c clientEndpoint) credentials(bucket, accessKey string, secretKey services.Secret) services.Credentials {
	return c.Credentials(credentialType, "tcp", map[string]any{
		"endpoint":          c.url.String(),
		"tls":               c.url.Scheme == "https",
		"region":            c.region,
		"bucket":            bucket,
		"access_key_id":     accessKey,
		"secret_access_key": secretKey.Reveal(),
		"path_style":        true,
		"uri":               c.uri(bucket, accessKey, secretKey),
	})
}

// uri holds everything in one line: s3://key:secret@host:port/bucket with region
// and tls behind the question mark.
func (c clientEndpoint) uri(bucket, accessKey string, secretKey services.Secret) string {
	u := url.URL{
		Scheme:   "s3",
		User:     url.UserPassword(accessKey, secretKey.Reveal()),
		Host:     c.Address(),
		Path:     "/" + bucket,
		RawQuery: url.Values{"region": {c.region}, "tls": {strconv.FormatBool(c.url.Scheme == "https")}}.Encode(),
	}
	return u.String()
}
