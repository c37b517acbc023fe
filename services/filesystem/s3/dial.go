package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// session is an application's use of a bucket.
type session struct {
	client    *minio.Client
	transport *http.Transport
	bucket    string
}

// dial connects as an application does, with its credentials alone.
func dial(ctx context.Context, values map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := values[key].(string); return s }
	at, _, err := endpoint.Parse(text("endpoint"), ports)
	if err != nil {
		return nil, errors.New("the credentials have no endpoint")
	}
	s := &session{transport: httpapi.NewTransport(text("ca"), 8), bucket: text("bucket")}
	s.client, err = minio.New(at.Host, &minio.Options{
		Creds:     credentials.NewStaticV4(text("access_key_id"), text("secret_access_key"), ""),
		Secure:    at.Scheme == "https",
		Region:    text("region"),
		Transport: s.transport,
		// Callers want to see errors. One retry is for empty objects, which minio-go sends in
		// chunks: the gateway may hang up on the last one.
		MaxRetries:   2,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, fmt.Errorf("use the credentials: %w", err)
	}
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Write implements services.Session.
func (s *session) Write(ctx context.Context, key, value string) error {
	_, err := s.client.PutObject(ctx, s.bucket, key, strings.NewReader(value), int64(len(value)), minio.PutObjectOptions{})
	return err
}

// Read implements services.Session.
func (s *session) Read(ctx context.Context, key string) (string, error) {
	object, err := s.client.GetObject(ctx, s.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	value, err := io.ReadAll(object)
	return string(value), errors.Join(err, object.Close())
}

// Ping implements services.Session.
func (s *session) Ping(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing after the first object
	defer cancel()
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{MaxKeys: 1}) {
		return o.Err
	}
	return nil
}

// Close implements services.Session.
func (s *session) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}
