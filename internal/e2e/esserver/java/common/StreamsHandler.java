package escrow.root;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.datastreams.GetDataStreamAction.Response.DataStreamInfo;
import org.elasticsearch.action.datastreams.GetDataStreamAction.Response.IndexProperties;
import org.elasticsearch.action.datastreams.GetDataStreamAction.Response.ManagedBy;
import org.elasticsearch.action.datastreams.ModifyDataStreamsAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.health.ClusterHealthStatus;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.DataStreamLifecycle;
import org.elasticsearch.cluster.metadata.DataStreamOptions;
import org.elasticsearch.common.regex.Regex;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.index.Index;
import org.elasticsearch.index.IndexNotFoundException;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestRequest.Method;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.xcontent.ToXContent;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.json.JsonXContent;

/**
 * The requests about data streams. What they do, and what they show of a data stream, is the server's own code; the published jars
 * lack only the thin module with the requests.
 */
final class StreamsHandler extends BaseRestHandler {
  static final TimeValue LIMIT = TimeValue.timeValueSeconds(30);

  @Override
  public String getName() {
    return "data_streams";
  }

  @Override
  public List<Route> routes() {
    List<Route> all = new ArrayList<>();
    all.add(new Route(Method.GET, "/_data_stream"));
    all.add(new Route(Method.POST, "/_data_stream/_modify"));
    all.add(new Route(Method.POST, "/_data_stream/_migrate/{name}"));
    for (Method m : List.of(Method.GET, Method.PUT, Method.DELETE)) {
      all.add(new Route(m, "/_data_stream/{name}"));
      all.add(new Route(m, "/_data_stream/{name}/_lifecycle"));
      all.add(new Route(m, "/_data_stream/{name}/_options"));
    }
    return all;
  }

  @Override
  protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) throws IOException {
    for (String ignored : List.of("expand_wildcards", "timeout", "master_timeout", "pretty")) {
      request.param(ignored);
    }
    String name = request.param("name");
    String[] path = request.path().split("/");
    String last = path[path.length - 1];
    if (request.method() == Method.GET) {
      return channel -> {
        try (XContentBuilder json = JsonXContent.contentBuilder()) {
          channel.sendResponse(new RestResponse(RestStatus.OK, show(json, find(name), last)));
        }
      };
    }
    if (request.path().equals("/_data_stream/_modify")) {
      ModifyDataStreamsAction.Request modify;
      try (XContentParser parser = request.contentParser()) {
        modify = ModifyDataStreamsAction.Request.PARSER.parse(parser, actions -> new ModifyDataStreamsAction.Request(LIMIT, LIMIT, actions));
      }
      return channel -> Streams.modify(modify, new RestToXContentListener<>(channel));
    }
    if (path.length > 2 && path[2].equals("_migrate")) {
      return channel -> Streams.migrate(name, new RestToXContentListener<>(channel));
    }
    boolean put = request.method() == Method.PUT;
    switch (last) {
      case "_lifecycle":
        DataStreamLifecycle lifecycle = null;
        if (put) {
          try (XContentParser parser = request.contentParser()) {
            lifecycle = DataStreamLifecycle.dataLifecycleFromXContent(parser);
          }
        }
        DataStreamLifecycle l = lifecycle;
        return channel -> {
          ActionListener<AcknowledgedResponse> done = new RestToXContentListener<>(channel);
          if (put) Streams.setLifecycle(name, l, done);
          else Streams.removeLifecycle(name, done);
        };
      case "_options":
        DataStreamOptions options = null;
        if (put) {
          try (XContentParser parser = request.contentParser()) {
            options = DataStreamOptions.fromXContent(parser);
          }
        }
        DataStreamOptions o = options;
        return channel -> {
          ActionListener<AcknowledgedResponse> done = new RestToXContentListener<>(channel);
          if (put) Streams.setOptions(name, o, done);
          else Streams.removeOptions(name, done);
        };
      default:
        return channel -> {
          ActionListener<AcknowledgedResponse> done = new RestToXContentListener<>(channel);
          if (put) Streams.create(name, done);
          else Streams.delete(Set.copyOf(find(name)), done);
        };
    }
  }

  private static List<DataStream> find(String name) {
    List<DataStream> found = new ArrayList<>();
    for (DataStream d : Streams.all().values()) {
      if (name == null || Regex.simpleMatch(name, d.getName())) {
        found.add(d);
      }
    }
    if (found.isEmpty() && name != null && !Regex.isSimpleMatchPattern(name)) {
      throw new IndexNotFoundException(name);
    }
    return found;
  }

  private static XContentBuilder show(XContentBuilder json, List<DataStream> streams, String part) throws IOException {
    json.startObject().startArray("data_streams");
    for (DataStream d : streams) {
      switch (part) {
        case "_lifecycle":
          json.startObject().field("name", d.getName());
          if (d.getDataLifecycle() != null) {
            json.field("lifecycle");
            d.getDataLifecycle().toXContent(json, ToXContent.EMPTY_PARAMS);
          }
          json.endObject();
          break;
        case "_options":
          json.startObject().field("name", d.getName());
          if (!DataStreamOptions.EMPTY.equals(d.getDataStreamOptions())) {
            json.field("options");
            d.getDataStreamOptions().toXContent(json, ToXContent.EMPTY_PARAMS);
          }
          json.endObject();
          break;
        default:
          Map<Index, IndexProperties> properties = new java.util.HashMap<>();
          for (Index i : d.getIndices()) {
            properties.put(i, new IndexProperties(true, null, ManagedBy.UNMANAGED, null));
          }
          for (Index i : d.getFailureIndices()) {
            properties.put(i, new IndexProperties(true, null, ManagedBy.UNMANAGED, null));
          }
          boolean store = d.getDataStreamOptions().failureStore() != null && Boolean.TRUE.equals(d.getDataStreamOptions().failureStore().enabled());
          new DataStreamInfo(d, store, ClusterHealthStatus.GREEN, Streams.template(d), null, null, properties, true, null, null)
              .toXContent(json, ToXContent.EMPTY_PARAMS);
      }
    }
    return json.endArray().endObject();
  }
}
