package appbinding

import (
	"fmt"
	"io"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AppBinding describes an application and how to connect to it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=appbindings,singular=appbinding,categories={catalog,appscode,all}
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AppBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AppBindingSpec `json:"spec,omitempty"`
}

// AppBindingList is a list of AppBindings, as the API server returns it.
//
// +kubebuilder:object:root=true
type AppBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AppBinding `json:"items"`
}

// AppBindingSpec is the content of an AppBinding.
type AppBindingSpec struct {
	// Type is what kind of application it is, such as "kubedb.com/elasticsearch".
	Type string `json:"type,omitempty"`
	// AppRef is the object that the AppBinding was made for.
	AppRef *ObjectReference `json:"appRef,omitempty"`
	// Version of the application, such as "xpack-8.19.0".
	Version string `json:"version,omitempty"`

	ClientConfig ClientConfig `json:"clientConfig"`

	// Secret holds credentials: "apiKey", or "username" and "password", or ADMIN_USERNAME and ADMIN_PASSWORD. Without it
	// the cluster is used without credentials.
	Secret *SecretReference `json:"secret,omitempty"`
	// SecretTransforms are applied to the content of Secret, in order.
	SecretTransforms []SecretTransform `json:"secretTransforms,omitempty"`
	// Parameters are for the program that uses the AppBinding; they are kept as they are.
	//
	// +kubebuilder:pruning:PreserveUnknownFields
	Parameters *runtime.RawExtension `json:"parameters,omitempty"`
	// TLSSecret holds "ca.crt", and "tls.crt" with "tls.key" for a client certificate; each is optional.
	TLSSecret *SecretReference `json:"tlsSecret,omitempty"`
}

// ObjectReference names an object of any kind.
type ObjectReference struct {
	APIGroup  string `json:"apiGroup,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// SecretReference names a secret in the namespace of the AppBinding. Older objects give the name only.
type SecretReference struct {
	APIGroup string `json:"apiGroup,omitempty"` // empty
	Kind     string `json:"kind,omitempty"`     // empty or "Secret"
	Name     string `json:"name"`
}

// ClientConfig says where the application listens: at URL or at Service, one of which must be set.
type ClientConfig struct {
	// URL is used as it is: scheme://host:port/path. A user and password in it are used if there is no secret.
	URL *string `json:"url,omitempty"`
	// Service is reached as scheme://name.namespace.svc:port/path?query.
	Service *ServiceReference `json:"service,omitempty"`
	// InsecureSkipTLSVerify accepts any certificate.
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`
	// CABundle holds PEM certificates: the only authorities trusted, instead of those of the system and of TLSSecret.
	CABundle []byte `json:"caBundle,omitempty"`
	// ServerName is what the certificate must be for; default: the host.
	ServerName string `json:"serverName,omitempty"`
}

// ServiceReference names a Kubernetes service.
type ServiceReference struct {
	// Scheme is http or https; default: https if the AppBinding says anything about TLS, else http.
	Scheme string `json:"scheme,omitempty"`
	// Namespace; default: that of the AppBinding.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Port; default 9200.
	Port int32 `json:"port,omitempty"`
	// Path is put before the path of every request.
	Path string `json:"path,omitempty"`
	// Query is added to every request, without the question mark.
	Query string `json:"query,omitempty"`
}

// SecretTransform is one step that changes the content of a secret. Exactly one field is set.
type SecretTransform struct {
	RenameKey   *RenameKeyTransform   `json:"renameKey,omitempty"`
	AddKey      *AddKeyTransform      `json:"addKey,omitempty"`
	AddKeysFrom *AddKeysFromTransform `json:"addKeysFrom,omitempty"`
	RemoveKey   *RemoveKeyTransform   `json:"removeKey,omitempty"`
}

// RenameKeyTransform gives a key another name. A key that is not there is left alone.
type RenameKeyTransform struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// AddKeyTransform sets a key. It redacts itself when printed; its JSON holds the value, as the API server needs it.
type AddKeyTransform struct {
	Key string `json:"key"`
	// Value is in base64 in JSON.
	Value []byte `json:"value,omitempty"`
	// StringValue, if set, is used rather than Value.
	StringValue *string `json:"stringValue,omitempty"`
}

// Format implements fmt.Formatter for every verb, without the value.
func (t AddKeyTransform) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "{"+t.Key+" "+redacted+"}") // fmt ignores such errors too
}

// LogValue implements slog.LogValuer, without the value.
func (t AddKeyTransform) LogValue() slog.Value {
	return slog.GroupValue(slog.String("key", t.Key), slog.String("value", redacted))
}

// AddKeysFromTransform adds all keys of another secret; keys that are there already get its values.
type AddKeysFromTransform struct {
	SecretRef *SecretReference `json:"secretRef,omitempty"`
}

// RemoveKeyTransform removes a key, if it is there.
type RemoveKeyTransform struct {
	Key string `json:"key"`
}

// String names the object: "appbinding namespace/name".
func (b *AppBinding) String() string {
	if b.Namespace == "" {
		return "appbinding " + b.Name
	}
	return "appbinding " + b.Namespace + "/" + b.Name
}

// LogValue implements slog.LogValuer: the object may hold secrets, so that only its name is logged.
func (b *AppBinding) LogValue() slog.Value { return slog.StringValue(b.String()) }
