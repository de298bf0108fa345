package escrow.root;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.datastreams.ModifyDataStreamsAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.ClusterStateUpdateTask;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.DataStreamLifecycle;
import org.elasticsearch.cluster.metadata.DataStreamOptions;
import org.elasticsearch.cluster.metadata.MetadataCreateDataStreamService.CreateDataStreamClusterStateUpdateRequest;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.metadata.MetadataIndexTemplateService;
import org.elasticsearch.cluster.metadata.MetadataMigrateToDataStreamService.MigrateToDataStreamClusterStateUpdateRequest;
import org.elasticsearch.common.settings.Settings;

/** The server's code for data streams, as it is called in version 8. */
final class Streams {

  static Map<String, DataStream> all() {
    return new java.util.TreeMap<>(StreamsAction.cluster.state().metadata().dataStreams());
  }

  static String template(DataStream d) {
    return MetadataIndexTemplateService.findV2Template(StreamsAction.cluster.state().metadata(), d.getName(), d.isHidden());
  }

  static void create(String name, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.create.createDataStream(
        new CreateDataStreamClusterStateUpdateRequest(name, System.currentTimeMillis(), null, StreamsHandler.LIMIT, StreamsHandler.LIMIT, true), done);
  }

  static void migrate(String alias, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.migrate.migrateToDataStream(
        new MigrateToDataStreamClusterStateUpdateRequest(alias, StreamsHandler.LIMIT, StreamsHandler.LIMIT), done);
  }

  static void modify(ModifyDataStreamsAction.Request request, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.streams.modifyDataStream(request, done);
  }

  static void setLifecycle(String name, DataStreamLifecycle lifecycle, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.streams.setLifecycle(List.of(name), lifecycle, StreamsHandler.LIMIT, StreamsHandler.LIMIT, done);
  }

  static void removeLifecycle(String name, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.streams.removeLifecycle(List.of(name), StreamsHandler.LIMIT, StreamsHandler.LIMIT, done);
  }

  static void setOptions(String name, DataStreamOptions options, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.streams.setDataStreamOptions(List.of(name), options, StreamsHandler.LIMIT, StreamsHandler.LIMIT, done);
  }

  static void removeOptions(String name, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.streams.removeDataStreamOptions(List.of(name), StreamsHandler.LIMIT, StreamsHandler.LIMIT, done);
  }

  static void delete(Set<DataStream> streams, ActionListener<AcknowledgedResponse> done) {
    StreamsAction.cluster.submitUnbatchedStateUpdateTask("delete data streams", new ClusterStateUpdateTask() {
      @Override
      public ClusterState execute(ClusterState now) {
        return MetadataDataStreamsService.deleteDataStreams(now, streams, Settings.EMPTY);
      }

      @Override
      public void onFailure(Exception e) {
        done.onFailure(e);
      }

      @Override
      public void clusterStateProcessed(ClusterState before, ClusterState after) {
        done.onResponse(AcknowledgedResponse.TRUE);
      }
    });
  }
}
