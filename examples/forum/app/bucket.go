package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// bucket contains photographs and pictures.
type bucket struct {
	client    *minio.Client
	transport *http.Transport
	name, key string
}

func openBucket(ctx context.Context, set bindings.Set) (_ *bucket, err error) {
	b := set[0]
	transport, err := newTransport(b.Get("ca"))
	if err != nil {
		return nil, fmt.Errorf("the bucket: %w", err)
	}
	o := &bucket{transport: transport, name: b.Get("bucket"), key: b.Get("access_key_id")}
	o.client, err = minio.New(net.JoinHostPort(b.Get("host"), b.Get("port")), &minio.Options{
		Creds:        credentials.NewStaticV4(o.key, b.Get("secret_access_key"), ""),
		Secure:       b.Get("tls") == "true",
		Region:       b.Get("region"),
		Transport:    transport,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, fmt.Errorf("use the bucket's credentials: %w", err)
	}
	if err := o.ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("look into the bucket: %w", err), o.Close())
	}
	return o, nil
}

func (o *bucket) ping(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing after the first object
	defer cancel()
	for object := range o.client.ListObjects(ctx, o.name, minio.ListObjectsOptions{MaxKeys: 1}) {
		return object.Err
	}
	return nil
}

func (o *bucket) identity() string { return o.key }

// Close implements io.Closer.
func (o *bucket) Close() error {
	o.transport.CloseIdleConnections()
	return nil
}

func (o *bucket) put(ctx context.Context, key string, content io.Reader, size int64, kind string) error {
	_, err := o.client.PutObject(ctx, o.name, key, content, size, minio.PutObjectOptions{ContentType: kind})
	return err
}

func (o *bucket) remove(ctx context.Context, key string) error {
	return o.client.RemoveObject(ctx, o.name, key, minio.RemoveObjectOptions{})
}

// get opens an object, and returns its size.
func (o *bucket) get(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	object, err := o.client.GetObject(ctx, o.name, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, 0, err
	}
	info, err := object.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, object.Close())
	}
	return object, info.Size, nil
}

// newTransport makes HTTP connections to a service. It trusts the binding's certificate
// authority, if any.
func newTransport(ca string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("ca must be a certificate in PEM")
		}
	}
	return t, nil
}
