package acceptance_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// The backend and its tests use another client, minio-go.
var _ = Describe("An application with the AWS SDK", Ordered, func() {
	var writer, reader *s3.Client
	var bucket *string

	BeforeAll(func(ctx SpecContext) {
		d := deploy(ctx, rig.Options{Backends: []string{"s3"}})
		client := clientOf(addBroker(ctx, d, "broker", nil))
		catalog, err := client.Catalog(ctx)
		Expect(err).NotTo(HaveOccurred())
		service, plan := catalog.Services[0].ID, catalog.Services[0].Plans[0].ID
		_, err = client.Provision(ctx, "bucket", osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "org", SpaceGUID: "space"})
		Expect(err).NotTo(HaveOccurred())
		bind := func(id, role string) map[string]any {
			made, err := client.Bind(ctx, "bucket", id, osbclient.BindRequest{ServiceID: service, PlanID: plan, Parameters: map[string]any{"role": role}})
			Expect(err).NotTo(HaveOccurred())
			return made.Credentials
		}
		values := bind("writer", "read_write")
		writer, reader, bucket = newS3(values), newS3(bind("reader", "read_only")), aws.String(values["bucket"].(string))
	})

	DescribeTable("may read with any binding, and write with one that is not read-only",
		func(ctx SpecContext, writes bool, use func(context.Context, *s3.Client, *string) error) {
			Expect(use(ctx, writer, bucket)).To(Succeed())
			if writes {
				Expect(use(ctx, reader, bucket)).NotTo(Succeed())
			} else {
				Expect(use(ctx, reader, bucket)).To(Succeed())
			}
		},
		Entry("head bucket", false, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket})
			return err
		}),
		Entry("put", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{
				Bucket: bucket, Key: aws.String("folder/ä key+&.txt"), Body: strings.NewReader("value"),
				ContentType: aws.String("text/plain"), Metadata: map[string]string{"by": "sdk"},
			})
			return err
		}),
		Entry("put nothing", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("empty"), Body: strings.NewReader("")})
			return err
		}),
		Entry("get", false, getS3),
		Entry("copy", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String(*bucket + "/empty")})
			return err
		}),
		Entry("list", false, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
			return err
		}),
		Entry("upload in parts", true, uploadS3),
		Entry("tag", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
				Bucket: bucket, Key: aws.String("empty"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}},
			})
			return err
		}),
		Entry("delete many", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{
				Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("empty")}, {Key: aws.String("copy")}}},
			})
			if err == nil && len(out.Errors) > 0 {
				return errors.New(aws.ToString(out.Errors[0].Code))
			}
			return err
		}),
		Entry("delete", true, func(ctx context.Context, c *s3.Client, bucket *string) error {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("parts")})
			return err
		}),
	)
})

// newS3 returns the SDK's client, configured as an application would.
func newS3(values map[string]any) *s3.Client {
	text := func(key string) string { return values[key].(string) }
	return s3.New(s3.Options{
		Region:       text("region"),
		BaseEndpoint: aws.String(text("endpoint")),
		UsePathStyle: values["path_style"].(bool),
		Credentials:  credentials.NewStaticCredentialsProvider(text("access_key_id"), text("secret_access_key"), ""),
	})
}

func getS3(ctx context.Context, c *s3.Client, bucket *string) error {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("folder/ä key+&.txt")})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err == nil && string(got) != "value" {
		return errors.New("the data that was read differs from the data that was written")
	}
	return err
}

func uploadS3(ctx context.Context, c *s3.Client, bucket *string) error {
	key := aws.String("parts")
	begun, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for i, size := range []int{5 << 20, 10} {
		part, err := c.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(make([]byte, size)),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: aws.Int32(int32(i + 1))})
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}
