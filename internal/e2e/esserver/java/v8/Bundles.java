package escrow.launcher;

import java.util.Map;
import org.elasticsearch.env.Environment;
import org.elasticsearch.plugins.PluginsLoader;

/** Finds the modules and plugins below a node's home. */
final class Bundles {
  static PluginsLoader load(Environment env) {
    return PluginsLoader.createPluginsLoader(
        PluginsLoader.loadModulesBundles(env.modulesDir()),
        PluginsLoader.loadPluginsBundles(env.pluginsDir()),
        Map.of(),
        false);
  }
}
